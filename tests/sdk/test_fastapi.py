"""The security scheme for FastAPI: open pages, the contract, and how requests are answered."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from authsvc_sdk import Active, AsyncIntrospector, Refused
from authsvc_sdk.fastapi import BearerAuth
from fastapi import Depends, FastAPI, Request, Response, WebSocket

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from tests.conftest import bearer
from tests.e2e.conftest import free_port
from tests.sdk.conftest import World

NOWHERE = f"http://127.0.0.1:{free_port()}"


def application(url: str, client: tuple[str, str]) -> FastAPI:
    introspector = AsyncIntrospector(url, *client)
    auth = BearerAuth(introspector)
    app = FastAPI(lifespan=auth.lifespan, exception_handlers=auth.exception_handlers)

    @app.get("/open")
    async def open_() -> str:
        return "open"

    @app.get("/notes")
    async def notes(request: Request, user: Annotated[Active, Depends(auth)]) -> dict[str, Any]:
        return {"owner": user.display_name, "same": request.user is user}

    @app.delete("/notes", dependencies=[Depends(auth.require(role="editor"))])
    async def delete_notes() -> str:
        return "deleted"

    @app.websocket("/echo")
    async def echo(socket: WebSocket, user: Annotated[Active, Depends(auth)]) -> None:
        await socket.accept()
        await socket.send_text(user.display_name)
        await socket.close()

    return app


@asynccontextmanager
async def caller(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://a") as http:
        yield http


@pytest.fixture
def app(world: World) -> FastAPI:
    return application(world.server.url, world.client)


async def test_the_pages_of_the_contract_are_open_and_have_the_scheme(app: FastAPI) -> None:
    """/docs and /openapi.json need no token, and the "Authorize" button knows the scheme of the protected routes."""
    async with caller(app) as http:
        assert (await http.get("/docs")).status_code == 200
        contract = (await http.get("/openapi.json")).json()
    (name,) = contract["components"]["securitySchemes"]
    assert contract["components"]["securitySchemes"][name]["scheme"] == "bearer"
    for method in ("get", "delete"):
        assert contract["paths"]["/notes"][method]["security"] == [{name: []}]
    assert "security" not in contract["paths"]["/open"]["get"]


async def test_protected_routes_need_an_active_token(world: World, app: FastAPI) -> None:
    """Requests get the answers of the middleware: 401 with a challenge, 403, and the user."""
    world.user()
    token = world.token()
    async with caller(app) as http:
        assert (await http.get("/open")).status_code == 200
        without = await http.get("/notes")
        assert (without.status_code, without.headers["www-authenticate"]) == (401, 'Bearer realm="api"')
        assert without.json()["error"] == "invalid_token"
        assert (await http.get("/notes", headers=bearer(token))).json() == {"owner": "ada", "same": True}
        twice = await http.get("/notes", headers=[("Authorization", f"Bearer {token}")] * 2)
        assert twice.status_code == 400
        assert (await http.delete("/notes", headers=bearer(token))).json()["error"] == "insufficient_scope"
        world.revoke(token=token)
        revoked = await http.get("/notes", headers=bearer(token))
        assert (revoked.status_code, revoked.json()["error"]) == (401, "invalid_token")


async def test_an_outage_is_503(world: World) -> None:
    """Without the service the answer is 503 with `Retry-After`, never 401."""
    world.user()
    async with caller(application(f"http://127.0.0.1:{free_port()}", world.client)) as http:
        answer = await http.get("/notes", headers=bearer(world.token()))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_route_that_asks_by_itself(world: World) -> None:
    """A route whose own exchange or check gets no answer is a 503 too, and so is its WebSocket (1013)."""
    introspector, gone = AsyncIntrospector(world.server.url, *world.client), AsyncIntrospector(NOWHERE, "a", "b")
    auth = BearerAuth(introspector)
    app = FastAPI(lifespan=auth.lifespan, exception_handlers=auth.exception_handlers)

    @app.get("/exchange")
    async def exchange() -> str:
        return (await introspector.exchange("tok_", audience="billing")).token

    @app.get("/introspect")
    async def introspect() -> bool:
        return isinstance(await gone.introspect(tokens.new(Kind.ACCESS).text), Active)

    @app.websocket("/socket")
    async def socket(socket: WebSocket) -> None:
        await socket.accept()
        await introspect()

    async with caller(app) as http:
        for path in ("/exchange", "/introspect"):
            answer = await http.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["error"] == "temporarily_unavailable"
        sent: list[Any] = []

        async def receive() -> dict[str, str]:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/socket", "query_string": b"", "headers": [], "scheme": "ws"}
        await app(scope, receive, send)
    assert sent[-1]["code"] == 1013


async def test_a_websocket_needs_an_active_token(world: World, app: FastAPI) -> None:
    """A WebSocket without a token is closed with 1008 before it opens. One with a token is served."""
    world.user()
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/echo", "query_string": b"", "headers": [], "scheme": "ws"}
    async with caller(app):
        await app(dict(scope), receive, send)
        assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]
        sent.clear()
        headers = [(b"authorization", f"Bearer {world.token()}".encode())]
        await app(scope | {"headers": headers}, receive, send)
    assert [message.get("text") for message in sent] == [None, "ada", None]


async def test_without_the_handlers(world: World) -> None:
    """An application that was not given the handlers answers like any other, also inside of one that has them."""
    auth = BearerAuth(AsyncIntrospector(world.server.url, *world.client))
    inner, alone = FastAPI(), FastAPI()
    outer = FastAPI(lifespan=auth.lifespan, exception_handlers=auth.exception_handlers)
    world.user()
    token = world.token()

    @inner.get("/notes")
    @alone.get("/inner/notes")
    async def notes(user: Annotated[Active, Depends(auth.require(role="editor"))]) -> str:
        return user.sub

    @inner.websocket("/echo")
    async def echo(socket: WebSocket, user: Annotated[Active, Depends(auth)]) -> None:
        await socket.accept()

    outer.mount("/inner", inner)
    for app in (outer, alone):
        async with caller(app) as http:
            without = await http.get("/inner/notes")
            assert (without.status_code, without.headers["www-authenticate"]) == (401, 'Bearer realm="api"')
            assert (await http.get("/inner/notes", headers=bearer(token))).status_code == 403
            assert (await http.get("/inner/notes", headers=bearer("tok_x"))).json()["error"] == "invalid_token"
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/inner/echo", "query_string": b"", "headers": [], "scheme": "ws"}
    await outer(scope, receive, send)
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]


async def test_an_application_keeps_its_own_handler(world: World) -> None:
    """A handler of the application's own for a refusal stays."""
    auth = BearerAuth(AsyncIntrospector(world.server.url, *world.client))

    async def own(request: Request, error: Exception) -> Response:
        return Response("own", 418)

    app = FastAPI(exception_handlers={Refused: own})

    @app.get("/notes", dependencies=[Depends(auth)])
    async def notes() -> None: ...

    async with caller(app) as http:
        assert (await http.get("/notes")).status_code == 418
