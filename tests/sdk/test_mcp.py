"""Servers of the Model Context Protocol, with the real packages and a real service."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from authsvc_sdk import AsyncIntrospector
from authsvc_sdk.asgi import RefusalMiddleware

from tests.conftest import bearer
from tests.e2e.conftest import free_port
from tests.sdk.conftest import World

pytest.importorskip("mcp", reason="the package mcp is missing: the extra sdk-tests")

ORIGIN = "http://127.0.0.1:9000"
ISSUER = "https://auth.example.org"
Make = Callable[[AsyncIntrospector], Any]


def with_mcp(introspector: AsyncIntrospector) -> Any:
    """An application with the package `mcp`."""
    from authsvc_sdk.mcp import BearerVerifier
    from mcp.server.auth.middleware.auth_context import get_access_token
    from mcp.server.mcpserver import MCPServer

    verifier = BearerVerifier(introspector)
    auth = verifier.settings(issuer_url=ISSUER, resource_url=f"{ORIGIN}/mcp", required_scopes=["notes"])
    server = MCPServer("notes", token_verifier=verifier, auth=auth)

    @server.tool()  # type: ignore[untyped-decorator,unused-ignore]  # the package is not always there
    def whoami() -> str:
        """Who calls."""
        token = get_access_token()
        return str(token and token.subject)

    app = server.streamable_http_app(stateless_http=True, json_response=True)
    app.add_middleware(RefusalMiddleware, introspector=introspector)
    return app


def with_fastmcp(introspector: AsyncIntrospector) -> Any:
    """An application with FastMCP."""
    fastmcp = pytest.importorskip("fastmcp", reason="the package fastmcp is missing: the extra sdk-tests")
    from authsvc_sdk.fastmcp import BearerAuth
    from fastmcp.server.dependencies import get_access_token

    auth = BearerAuth(introspector, issuer_url=ISSUER, base_url=ORIGIN, required_scopes=["notes"])
    server = fastmcp.FastMCP("notes", auth=auth)

    @server.tool  # type: ignore[untyped-decorator,unused-ignore]
    def whoami() -> str:
        """Who calls."""
        token = get_access_token()
        return str(token and token.subject)

    return server.http_app(stateless_http=True, json_response=True)


@asynccontextmanager
async def calling(make: Make, url: str, client: tuple[str, str], **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of a server that asks the service at this URL."""
    async with AsyncIntrospector(url, *client, **settings) as introspector:
        app = make(introspector)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
            yield http


async def call(http: httpx.AsyncClient, token: str | None) -> httpx.Response:
    """Call the tool."""
    accepted = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}
    return await http.post("/mcp", json=body, headers=accepted | (bearer(token) if token else {}))


def scoped(world: World, sub: str, scope: str) -> str:
    issuer = world.client_of("issue")
    made = world.http.post("/tokens", json={"sub": sub, "scope": scope, "expires_in": 60}, auth=issuer)
    return str(made.raise_for_status().json()["access_token"])


@pytest.mark.parametrize("make", [with_mcp, with_fastmcp])
async def test_calls_need_an_active_token(world: World, make: Make) -> None:
    """A call needs an active token with the scope. Without a token, the 401 leads to the service."""
    sub = world.user()
    token, poor = scoped(world, sub, "notes"), scoped(world, sub, "other")
    async with calling(make, world.server.url, world.client) as http:
        without = await call(http, None)
        assert without.status_code == 401
        described = (
            without.headers["www-authenticate"].partition('resource_metadata="')[2].rstrip('"').partition('"')[0]
        )
        assert described == f"{ORIGIN}/.well-known/oauth-protected-resource/mcp"
        metadata = (await http.get(described)).json()
        assert metadata["resource"] == f"{ORIGIN}/mcp"
        assert [server.rstrip("/") for server in metadata["authorization_servers"]] == [ISSUER]
        assert metadata["scopes_supported"] == ["notes"]
        answer = await call(http, token)
        assert answer.status_code == 200, answer.text
        assert sub in answer.text
        assert (await call(http, poor)).status_code == 403
        world.revoke(token=token)
        assert (await call(http, token)).status_code == 401


@pytest.mark.parametrize("make", [with_mcp, with_fastmcp])
async def test_an_outage_is_503(world: World, make: Make) -> None:
    """Without the service the answer is 503 with `Retry-After`, never 401: a client would log in again."""
    token = scoped(world, world.user(), "notes")
    async with calling(make, f"http://127.0.0.1:{free_port()}", world.client) as http:
        answer = await call(http, token)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("make", [with_mcp, with_fastmcp])
async def test_tokens_for_other_servers_are_refused(world: World, make: Make) -> None:
    """With an audience, a token that does not name it gets a 401."""
    token = scoped(world, world.user(), "notes")
    async with calling(make, world.server.url, world.client, audience=f"{ORIGIN}/mcp") as http:
        assert (await call(http, token)).status_code == 401
