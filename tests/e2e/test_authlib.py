"""An OAuth client that nobody here wrote, against the running server."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from authlib.deprecate import AuthlibDeprecationWarning  # type: ignore[import-untyped]  # its stubs lag behind it

from tests.e2e.gateways import service_with

with warnings.catch_warnings():
    # It would rather use httpx2. It insists on being heard, whatever the filters of the test run are.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
    from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]

from tests.e2e.conftest import PASSWORD, Server

pytestmark = pytest.mark.slow


@dataclass
class Backend:
    """A running server with ada, and a client of the kind that is tested."""

    server: Server
    options: dict[str, Any]

    def oauth(self, **options: Any) -> AsyncOAuth2Client:
        return AsyncOAuth2Client(**(self.options | options), token_endpoint=f"{self.server.url}/token", timeout=10)

    async def log_in(self, oauth: AsyncOAuth2Client) -> None:
        """/login takes JSON; its answer is what the token endpoint of an OAuth server would say."""
        client_id, secret = self.options["client_id"], self.options.get("client_secret")
        answer = await oauth.request(
            "POST",
            f"{self.server.url}/login",
            json={"username": "ada", "password": PASSWORD, "client_id": client_id},
            auth=(client_id, secret) if secret else None,
            withhold_token=True,
        )
        assert answer.status_code == 200, answer.text
        oauth.token = answer.json()

    async def active(self, token: str) -> bool:
        id_, secret = self.server.admin
        async with AsyncOAuth2Client(id_, secret, timeout=10) as resource_server:
            answer = await resource_server.introspect_token(f"{self.server.url}/introspect", token=token)
            assert answer.status_code == 200, answer.text
            return bool(answer.json()["active"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with the user ada."""
    with service_with(tmp_path_factory.mktemp("service"), username="ada", password=PASSWORD) as started:
        yield started


@pytest.fixture(params=["public", "client_secret_basic", "client_secret_post"])
def backend(request: pytest.FixtureRequest, server: Server) -> Backend:
    with server.http(auth=server.admin) as http:
        body = {"name": "authlib's"} | (
            {"public": True} if request.param == "public" else {"permissions": ["introspect", "revoke"]}
        )
        client = http.post("/admin/clients", json=body).json()
    if request.param == "public":
        options = {"client_id": client["client_id"], "token_endpoint_auth_method": "none"}
    else:
        options = {
            "client_id": client["client_id"],
            "client_secret": client["client_secret"],
            "token_endpoint_auth_method": request.param,
        }
    return Backend(server, options)


async def test_refresh_introspect_revoke(backend: Backend) -> None:
    """A session is logged in, used, refreshed, looked up and revoked, by Authlib's own calls."""
    url = backend.server.url
    async with backend.oauth() as oauth:
        await backend.log_in(oauth)
        me = await oauth.get(f"{url}/me")
        assert me.json()["username"] == "ada"
        first = dict(oauth.token)
        refreshed = await oauth.refresh_token(f"{url}/token", refresh_token=first["refresh_token"])
        assert refreshed["access_token"] != first["access_token"]
        assert refreshed["token_type"] == "Bearer"
        assert oauth.token["access_token"] == refreshed["access_token"]
        assert (await oauth.get(f"{url}/me")).status_code == 200
        if "client_secret" in backend.options:
            seen = await oauth.introspect_token(f"{url}/introspect", token=refreshed["access_token"])
            assert seen.json()["active"]
            assert seen.json()["client_id"] == backend.options["client_id"]
        assert await backend.active(refreshed["access_token"])
        revoked = await oauth.revoke_token(
            f"{url}/revoke", token=refreshed["refresh_token"], token_type_hint="refresh_token"
        )
        assert revoked.status_code == 200, revoked.text
        assert not await backend.active(refreshed["access_token"])
        assert (await oauth.get(f"{url}/me")).status_code == 401
        with pytest.raises(OAuthError, match="invalid_grant"):
            await oauth.refresh_token(f"{url}/token", refresh_token=refreshed["refresh_token"])


async def test_an_expired_token_is_refreshed_by_itself(backend: Backend) -> None:
    """Authlib refreshes before a request when it believes the token expired, and hands the new pair on."""
    updates: list[tuple[dict[str, Any], str]] = []

    async def update_token(token: dict[str, Any], refresh_token: str = "", access_token: str = "") -> None:
        updates.append((token, refresh_token))

    async with backend.oauth(update_token=update_token) as oauth:
        await backend.log_in(oauth)
        first = dict(oauth.token)
        oauth.token = {**first, "expires_at": 1}
        me = await oauth.get(f"{backend.server.url}/me")
        assert me.status_code == 200
        ((token, spent),) = updates
        assert spent == first["refresh_token"]
        assert token["access_token"] == oauth.token["access_token"] != first["access_token"]
        assert await backend.active(token["access_token"])
        await oauth.ensure_active_token(oauth.token)
        assert len(updates) == 1, "it has not expired"
