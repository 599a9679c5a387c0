"""A token that a client gets for itself (RFC 6749 section 4.4): whose it is, and when it ends."""

import httpx
import pytest
import redis

from authsvc.core import token as tokens
from authsvc.store import keys
from tests.conftest import Clock, Service, bearer
from tests.flows.contents import Commands
from tests.selection import one_in

Credentials = tuple[str, str]


async def client_token(service: Service, auth: Credentials, **form: str) -> httpx.Response:
    return await service.http.post("/token", data={"grant_type": "client_credentials", **form}, auth=auth)


async def issued(service: Service, auth: Credentials, **form: str) -> str:
    answer = await client_token(service, auth, **form)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


@pytest.fixture
async def worker(service: Service) -> Credentials:
    """A client that may get tokens for itself, for the audience `orders`."""
    return (await service.client("token", scope="orders:read orders:write", audience=("orders",)))[1]


async def test_the_token_speaks_for_the_client(service: Service, worker: Credentials) -> None:
    """The subject is the client. There are no roles, no name, no login and no refresh token."""
    answer = await client_token(service, worker, scope="orders:read")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert (told["token_type"], told["scope"], told["expires_in"]) == ("Bearer", "orders:read", 900)
    assert "refresh_token" not in told
    seen = await service.introspect(told["access_token"])
    assert (seen["active"], seen["token_use"], seen["sub"], seen["client_id"]) == (True, "client", *[worker[0]] * 2)
    assert (seen["roles"], seen["scope"], seen["aud"]) == ([], "orders:read", "orders")
    assert not {"username", "auth_time", "amr", "acr", "claims"} & seen.keys()
    verified = await service.http.get("/verify?scope=orders:read", headers=bearer(told["access_token"]))
    assert (verified.status_code, verified.headers["x-auth-subject"]) == (200, worker[0])


async def test_a_session_has_no_token_use(service: Service) -> None:
    await service.user()
    assert "token_use" not in await service.introspect((await service.login())["access_token"])


async def test_by_default_the_scope_is_empty(service: Service, worker: Credentials) -> None:
    assert "scope" not in await service.introspect(await issued(service, worker))


async def test_what_is_refused(service: Service, worker: Credentials) -> None:
    """Each refusal has the error of RFC 6749 section 5.2, and stores nothing."""
    _, without = await service.client("introspect")
    cases: tuple[tuple[Credentials, dict[str, str], int, str], ...] = (
        (worker, {"scope": "payments"}, 400, "invalid_scope"),
        (without, {}, 403, "unauthorized_client"),
        ((worker[0], "sec_wrong"), {}, 401, "invalid_client"),
    )
    for auth, form, status, code in cases:
        answer = await client_token(service, auth, **form)
        assert (answer.status_code, answer.json()["error"]) == (status, code)
    public = {"grant_type": "client_credentials", "client_id": "app"}
    answer = await service.http.post("/token", data=public)
    assert (answer.status_code, answer.json()["error"]) == (403, "unauthorized_client")
    answer = await service.http.post("/token", data={"grant_type": "password"}, auth=worker)
    assert answer.json()["error"] == "unsupported_grant_type"
    assert "client_credentials" in answer.json()["error_description"]


@pytest.mark.parametrize("end", one_in(3, ["time", "client", "all", "token", "session_id", "deletion"]))
async def test_when_the_token_ends(service: Service, worker: Credentials, clock: Clock, end: str) -> None:
    token = await issued(service, worker)
    for _ in range(3):  # so that the answer is remembered
        assert await service.active(token)
        assert (await service.introspect(token))["active"]
    forms = {
        "client": {"client_id": worker[0]},
        "all": {"all": "true"},
        "token": {"token": token},
        "session_id": {"session_id": token[4:16]},
    }
    if end == "time":
        clock.forward(900)
    elif end == "deletion":
        assert (await service.http.delete(f"/admin/clients/{worker[0]}", auth=service.admin)).status_code == 204
    else:
        assert (await service.http.post("/revoke", data=forms[end], auth=service.admin)).status_code == 200
    assert await service.introspect(token) == {"active": False}
    if end in ("client", "token", "session_id", "all"):
        assert (await service.introspect(await issued(service, worker)))["active"], "the client may go on"


async def test_the_token_opens_no_account(service: Service) -> None:
    """Neither the calls of users nor those of admins."""
    client, auth = await service.client("token", "admin")
    token = await issued(service, auth)
    for method, path in (
        ("GET", "/me"),
        ("GET", "/sessions"),
        ("DELETE", "/sessions"),
        ("POST", "/logout"),
        ("GET", "/admin/users"),
    ):
        answer = await service.http.request(method, path, headers=bearer(token))
        assert (answer.status_code, answer.json()["error"]) == (403, "access_denied"), path
    assert (await service.introspect(token))["sub"] == client.client_id


async def test_no_user_gets_the_id_of_a_client(service: Service, worker: Credentials) -> None:
    answer = await service.http.post("/tokens", json={"sub": worker[0]}, auth=service.admin)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert "client" in answer.json()["error_description"]


async def test_a_remembered_answer_takes_one_round_trip(
    service: Service, worker: Credentials, commands: Commands
) -> None:
    """A client's token costs what a session's token costs."""
    token = await issued(service, worker)
    for _ in range(3):
        await service.introspect(token)
    commands.reset()
    assert (await service.introspect(token))["active"]
    assert commands.seen() == {"mget": 1}


async def test_the_record_expires_and_stands_in_no_list(
    service: Service, worker: Credentials, valkey: "redis.Redis"
) -> None:
    before = {*valkey.keys("*")}
    token = tokens.parse(await issued(service, worker))
    assert token is not None
    assert {*valkey.keys("*")} - before == {keys.session(token.handle).encode()}
    assert 0 < valkey.ttl(keys.session(token.handle)) <= 900
