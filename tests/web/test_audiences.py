"""Audiences: which tokens open the calls of this service itself, as one resource server among others."""

from typing import Any

import httpx
import pytest

from authsvc.api.route import USER, Route
from authsvc.api.routes import ROUTES
from authsvc.settings import Settings
from tests.conftest import CHEAP, PASSWORD, Service, bearer
from tests.selection import one_in
from tests.web.conftest import assert_problem, cookie, cookie_of

ISSUER = "https://auth.example.org"
ACCOUNT_CALLS = [route for route in ROUTES if route.access is USER]
NEW_PASSWORD = {"current_password": PASSWORD, "new_password": "four herons at dawn"}


@pytest.fixture
def settings() -> Settings:
    return Settings(**CHEAP, issuer=ISSUER)


async def call(service: Service, route: Route, headers: dict[str, str]) -> httpx.Response:
    body = NEW_PASSWORD if route.path == "/password" else None
    path = route.path.format(session_id="unknown", key_id="unknown")
    return await service.http.request(route.method, path, json=body, headers={"Origin": ISSUER} | headers)


async def log_in(service: Service, *audience: str, **fields: Any) -> dict[str, Any]:
    """Log in through a public client of this audience."""
    if await service.deps.store.users.find_by_name("ada") is None:
        await service.user()
    client, _ = await service.client(public=True, audience=audience, **fields)
    return await service.login(client_id=client.client_id)


@pytest.mark.parametrize("route", ACCOUNT_CALLS, ids=lambda route: f"{route.method} {route.path}")
async def test_account_calls_refuse_tokens_for_other_resource_servers(service: Service, route: Route) -> None:
    """A resource server that is sent a user's token can't use it for the user's account, and the session goes on."""
    tokens = await log_in(service, "orders")
    answer = await call(service, route, bearer(tokens["access_token"]))
    assert_problem(answer, 401, "invalid_token")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert await service.active(tokens["access_token"])
    assert (await service.login())["access_token"], "the password has changed"


@pytest.mark.parametrize("route", one_in(3, ACCOUNT_CALLS), ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize("audience", [(), (ISSUER,), ("orders", ISSUER)])
async def test_account_calls_take_tokens_for_this_service(
    service: Service, route: Route, audience: tuple[str, ...]
) -> None:
    """An empty audience, and one with the issuer, open the calls of the account."""
    tokens = await log_in(service, *audience)
    answer = await call(service, route, bearer(tokens["access_token"]))
    assert answer.status_code in (200, 204, 404), answer.text


@pytest.mark.parametrize("audience", ["https://auth.example.org/", "https://auth.example.org.evil.test", "auth"])
async def test_only_the_very_issuer_counts(service: Service, audience: str) -> None:
    """An audience that resembles the issuer is another resource server."""
    tokens = await log_in(service, audience)
    assert_problem(await service.http.get("/me", headers=bearer(tokens["access_token"])), 401, "invalid_token")


async def test_an_issued_token_for_others_opens_no_account_call(service: Service) -> None:
    """Tokens of `POST /tokens` have the audience of their client, also for a user with an account."""
    user = await service.user()
    _, auth = await service.client("issue", audience=("orders",))
    token = (await service.http.post("/tokens", json={"sub": user.sub}, auth=auth)).json()["access_token"]
    for headers in (bearer(token), cookie(token)):
        assert_problem(await service.http.get("/me", headers=headers), 401, "invalid_token")
        answer = await service.http.post("/password", json=NEW_PASSWORD, headers=headers)
        assert_problem(answer, 401, "invalid_token")


@pytest.mark.parametrize("refresh", [True, False])
async def test_a_bearer_token_is_no_cookie(service: Service, refresh: bool) -> None:
    """A resource server that sends a user's bearer token as the cookie gets the same refusal."""
    tokens = await log_in(service, "orders", refresh=refresh)
    for method, path in (("GET", "/me"), ("GET", "/sessions"), ("DELETE", "/sessions")):
        answer = await service.http.request(method, path, headers=cookie(tokens["access_token"]))
        assert_problem(answer, 401, "invalid_token")
        assert "set-cookie" not in answer.headers, "the session goes on, so the browser keeps its cookie"


async def test_the_cookie_opens_every_account_call(service: Service) -> None:
    """The token of a login by cookie reaches no resource server, so its audience does not matter."""
    await service.user()
    client, _ = await service.client(public=True, audience=("orders",))
    for route in sorted(ACCOUNT_CALLS, key=lambda route: route.path == "/password"):  # afterwards it is another
        body = {"username": "ada", "password": PASSWORD, "client_id": client.client_id, "cookie": True}
        login = await service.http.post("/login", json=body, headers={"Sec-Fetch-Site": "same-origin"})
        token = cookie_of(login)
        service.http.cookies.clear()
        answer = await call(service, route, cookie(token))
        assert answer.status_code in (200, 204, 404), (route.path, answer.text)
        service.http.cookies.clear()


async def test_every_token_can_log_its_session_out(service: Service) -> None:
    """`POST /logout` ends the session of the token, whatever its audience."""
    for audience in ((), ("orders",), (ISSUER,)):
        tokens = await log_in(service, *audience)
        answer = await service.http.post("/logout", headers=bearer(tokens["access_token"]))
        assert answer.status_code == 204, answer.text
        assert not await service.active(tokens["access_token"])


async def test_gateways_ask_about_tokens_for_any_audience(service: Service) -> None:
    """`/verify` is a call of gateways: they name the audience that they demand."""
    tokens = await log_in(service, "orders")
    for query, status in (("", 200), ("?audience=orders", 200), ("?audience=stock", 401)):
        answer = await service.http.get(f"/verify{query}", headers=bearer(tokens["access_token"]))
        assert answer.status_code == status, answer.text
