"""Revocation as RFC 7009 and section B of the security list ask for it."""

import httpx
import pytest
import redis

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from tests.conftest import Clock, Service, bearer
from tests.web.conftest import assert_problem, cookie, login_by_cookie


@pytest.fixture
async def mine(service: Service) -> dict[str, str]:
    await service.user()
    return await service.login()


async def revoke(service: Service, auth: tuple[str, str] | None = None, **form: str) -> httpx.Response:
    return await service.http.post("/revoke", data=form, auth=auth or httpx.USE_CLIENT_DEFAULT)


async def test_only_post(service: Service) -> None:
    """Revoking takes POST, and a form."""
    for method in ("GET", "DELETE", "PUT", "HEAD"):
        assert (await service.http.request(method, "/revoke", auth=service.admin)).status_code == 405
    answer = await service.http.post("/revoke", json={"token": "x"}, auth=service.admin)
    assert_problem(answer, 415, "unsupported_media_type")


async def test_the_client_authenticates_first(service: Service, mine: dict[str, str]) -> None:
    """Without authentication, or with a wrong secret, the token lives on. Guessing is throttled."""
    token = mine["access_token"]
    answer = await revoke(service, token=token)
    assert_problem(answer, 401, "invalid_token")
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    for _ in range(10):
        assert_problem(await revoke(service, (service.admin[0], "wrong"), token=token), 401, "invalid_client")
    throttled = await revoke(service, (service.admin[0], "wrong"), token=token)
    assert_problem(throttled, 429, "too_many_attempts")
    assert int(throttled.headers["retry-after"]) >= 1
    assert await service.active(token)


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense", ""])
@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_whichever_token_and_hint(service: Service, mine: dict[str, str], kind: str, hint: str) -> None:
    """Either token ends the whole session at once, whatever the hint says."""
    answer = await revoke(service, client_id="app", token=mine[kind], token_type_hint=hint)
    assert (answer.status_code, answer.content) == (200, b"")
    assert not await service.active(mine["access_token"])
    assert not await service.active(mine["refresh_token"])
    assert_problem(await service.refresh(mine["refresh_token"]), 400, "invalid_grant")
    assert_problem(await service.http.get("/me", headers=bearer(mine["access_token"])), 401, "invalid_token")


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_another_clients_token(service: Service, mine: dict[str, str], kind: str) -> None:
    """Another client's token is refused with an error, and lives on; a client with `revoke` may."""
    _, stranger = await service.client("introspect", "issue", "reset")
    answer = await revoke(service, stranger, token=mine[kind])
    assert_problem(answer, 403, "unauthorized_client")
    assert await service.active(mine["access_token"])
    _, elsewhere = await service.client("revoke", audience=("elsewhere",))
    assert_problem(await revoke(service, elsewhere, token=mine[kind]), 403, "unauthorized_client")
    assert await service.active(mine["access_token"])
    _, entitled = await service.client("revoke")
    assert (await revoke(service, entitled, token=mine[kind])).status_code == 200
    assert not await service.active(mine["access_token"])


async def test_own_token_of_a_confidential_client(service: Service) -> None:
    """A client that authenticates ends its own sessions without any permission (CVE-2016-6582: 200, and alive)."""
    await service.user()
    _, auth = await service.client()
    login = {"username": "ada", "password": "a walk by the river"}
    own = (await service.http.post("/login", json=login, auth=auth)).json()
    assert await service.active(own["access_token"])
    assert (await revoke(service, auth, token=own["refresh_token"])).status_code == 200
    assert not await service.active(own["access_token"])


async def test_unknown_tokens_are_one_answer(service: Service, mine: dict[str, str], clock: Clock) -> None:
    """Revoked, unknown, expired, of another kind, nonsense: all get the same 200."""
    token = mine["access_token"]
    expired = (await service.login())["access_token"]
    forged = tokens.new(Kind.ACCESS, (await service.login())["session_id"]).text
    first = await service.http.post("/revoke", data={"token": token}, auth=service.admin, headers={"X-Request-ID": "a"})
    clock.forward(31 * 86400)
    for text in (token, expired, forged, tokens.new(Kind.ACCESS).text, service.admin[1], "x", "é" * 2000, "x" * 16384):
        again = await service.http.post(
            "/revoke", data={"token": text}, auth=service.admin, headers={"X-Request-ID": "a"}
        )
        assert (again.status_code, again.content, again.headers) == (200, first.content, first.headers)


async def test_a_forged_secret_ends_nothing(service: Service, mine: dict[str, str]) -> None:
    """The handle is public, so a token with the right one and another secret ends no session."""
    for kind in (Kind.ACCESS, Kind.REFRESH):
        forged = tokens.new(kind, mine["session_id"]).text
        assert (await revoke(service, client_id="app", token=forged)).status_code == 200
        assert (await revoke(service, service.admin, token=forged)).status_code == 200
    assert await service.active(mine["access_token"])


async def test_a_spent_refresh_token_ends_its_session(service: Service, mine: dict[str, str], clock: Clock) -> None:
    """Also a token that was spent or has expired takes its session along."""
    newer = (await service.refresh(mine["refresh_token"])).json()
    clock.forward(1000)
    assert (await revoke(service, client_id="app", token=mine["refresh_token"])).status_code == 200
    assert_problem(await service.refresh(newer["refresh_token"]), 400, "invalid_grant")


async def test_a_store_that_cannot_is_never_a_success(
    service: Service, mine: dict[str, str], valkey: "redis.Redis"
) -> None:
    """With the store refusing writes, revoking is 503 with Retry-After, and the token is as alive as before."""
    admin = service.admin
    forms = [{"token": mine["access_token"]}, {"session_id": mine["session_id"]}, {"all": "true"}]
    valkey.config_set("min-replicas-to-write", 1)
    try:
        for form in forms:
            answer = await revoke(service, admin, **form)
            assert_problem(answer, 503, "temporarily_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
            assert (await service.http.get("/me", headers=bearer(mine["access_token"]))).status_code == 200
    finally:
        valkey.config_set("min-replicas-to-write", 0)
    assert (await revoke(service, admin, **forms[0])).status_code == 200


async def test_only_admins_revoke_without_a_token(service: Service, mine: dict[str, str]) -> None:
    """By session, by user or all: admins only, and exactly one of them at a time."""
    user = (await service.introspect(mine["access_token"]))["sub"]
    _, other = await service.client("introspect", "revoke", "issue", "reset")
    targets: list[dict[str, str]] = [{"session_id": mine["session_id"]}, {"sub": user}, {"all": "true"}]
    for target in targets:
        assert_problem(await revoke(service, other, **target), 403, "unauthorized_client")
        assert (await service.http.post("/revoke", data=target | {"client_id": "app"})).status_code in (400, 401, 403)
    for auth in (service.admin, other):
        for two in (targets[0] | targets[1], targets[1] | targets[2], {"token": "x", "all": "true"}, {"foo": "x"}):
            assert (await revoke(service, auth, **two)).status_code == 400
    assert_problem(await revoke(service, service.admin, all="yes"), 400, "invalid_request")
    assert await service.active(mine["access_token"])
    for target in targets:
        token = (await service.login())["access_token"]
        target = {"session_id": token[4:16]} if "session_id" in target else target
        assert (await revoke(service, service.admin, **target)).status_code == 200
        assert not await service.active(token)


async def test_an_admin_client_revokes_a_client(service: Service, mine: dict[str, str]) -> None:
    """An admin client names another client, and every session opened through that one ends."""
    assert (await revoke(service, service.admin, client_id="app")).status_code == 200
    assert not await service.active(mine["access_token"])


@pytest.mark.parametrize("by_cookie", [False, True])
async def test_an_admin_user_revokes_a_client(service: Service, mine: dict[str, str], *, by_cookie: bool) -> None:
    """So does a user with the role admin, by a token or the cookie."""
    await service.user("root", roles=("admin",))
    headers = cookie(await login_by_cookie(service, "root"))
    if not by_cookie:
        _, auth = await service.client()
        login = {"username": "root", "password": "a walk by the river"}
        headers = bearer((await service.http.post("/login", json=login, auth=auth)).json()["access_token"])
    answer = await service.http.post("/revoke", data={"client_id": "app"}, headers=headers)
    assert answer.status_code == 200
    assert not await service.active(mine["access_token"])


async def test_without_a_token_every_caller_gets_the_same(service: Service) -> None:
    """Whoever calls, and even without credentials: nothing to revoke is 400 `invalid_request`."""
    await service.user()
    token = (await service.login())["access_token"]
    _, auth = await service.client()
    bodies = []
    for options in (
        {"data": {"x": "y"}},
        {"data": {"client_id": "app"}},
        {"data": {"client_id": auth[0], "client_secret": auth[1]}},
        {"data": {"client_id": service.admin[0], "client_secret": service.admin[1]}},
        {"data": {"x": "y"}, "auth": auth},
        {"data": {"x": "y"}, "auth": service.admin},
        {"data": {"client_id": auth[0]}, "auth": auth},
        {"data": {"client_id": auth[0], "client_secret": auth[1]}, "auth": auth},
        {"data": {"client_id": "app"}, "auth": ("app", "")},
        {"data": {"token": ""}, "headers": bearer(token)},
        {"data": {"token": ""}, "headers": cookie(token)},
    ):
        answer = await service.http.post("/revoke", **options)
        assert_problem(answer, 400, "invalid_request")
        bodies.append(answer.text)
    assert len(set(bodies)) == 1
