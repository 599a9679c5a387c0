"""A web server logs its users in, and names each user's address: guesses count there, and not for the web server."""

from typing import Any

import httpx
import pytest
import redis

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.flows.deps import OPERATOR
from authsvc.flows.password import new_reset_code
from tests.conftest import PASSWORD, Service, bearer
from tests.web.conftest import ORIGIN, assert_problem, cookie_of, login_by_cookie

HOME, ELSEWHERE = "203.0.113.77", "198.51.100.9"
WRONG = "a walk by the sea shore"
OTHER_PASSWORD = "seven quiet herons wading"

Auth = tuple[str, str]


@pytest.fixture
async def web(service: Service) -> Auth:
    """The credentials of a web server that may name its users' addresses."""
    return (await service.client("client_ip"))[1]


async def log_in(
    service: Service, auth: Auth | None, ip: Any, username: str = "ada", password: str = PASSWORD, **fields: Any
) -> httpx.Response:
    """Log in through a client. ip: as it is sent; None: not at all."""
    named = {} if ip is None else {"ip": ip}
    body = {"username": username, "password": password, **named, **fields}
    return await service.http.post("/login", json=body, auth=auth or httpx.USE_CLIENT_DEFAULT)


async def reset(service: Service, auth: Auth | None, ip: Any, code: str) -> httpx.Response:
    named = {} if ip is None else {"ip": ip}
    body = {"reset_code": code, "new_password": OTHER_PASSWORD, **named}
    return await service.http.post("/password/reset", json=body, auth=auth or httpx.USE_CLIENT_DEFAULT)


async def events(service: Service) -> list[dict[str, Any]]:
    """The audit trail, oldest first."""
    answer = await service.http.get("/admin/audit", auth=service.admin)
    items: list[dict[str, Any]] = answer.json()["items"]
    return items[::-1]


def counted(valkey: "redis.Redis") -> list[bytes]:
    """The keys of all counted attempts."""
    return list(valkey.scan_iter("throttle:*"))


def an_invented_code() -> str:
    return tokens.new(Kind.RESET).text


async def test_wrong_passwords_of_many_users_lock_nobody_out(service: Service, web: Auth) -> None:
    """Wrong passwords from many addresses behind one web server keep no other user from logging in."""
    await service.user()
    for n in range(40):
        assert (await log_in(service, web, f"10.0.{n}.1", f"user{n}", WRONG)).status_code == 401
    assert (await log_in(service, web, HOME)).status_code == 200
    assert (await log_in(service, web, None)).status_code == 200, "they do not count for the web server's own address"


async def test_wrong_passwords_count_against_the_named_address(service: Service, web: Auth) -> None:
    """An address that a web server names has twenty guesses. Then it waits, and other users do not."""
    await service.user()
    for n in range(20):
        assert (await log_in(service, web, HOME, f"user{n}", WRONG)).status_code == 401
    assert_problem(await log_in(service, web, HOME), 429, "too_many_attempts")
    assert (await log_in(service, web, ELSEWHERE)).status_code == 200


async def test_a_full_limit_of_the_web_server_stops_no_named_address(service: Service, web: Auth) -> None:
    """Guesses from the web server's own address, as at `POST /password`, stop no login that names an address."""
    await service.user()
    headers = bearer((await log_in(service, web, HOME)).json()["access_token"])
    for n in range(20):
        await log_in(service, None, None, f"user{n}", WRONG)
    change = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    assert_problem(await service.http.post("/password", json=change, headers=headers), 429, "too_many_attempts")
    assert (await log_in(service, web, HOME)).status_code == 200


async def test_one_address_has_one_count_through_all_web_servers(service: Service, web: Auth) -> None:
    """A second web server, and another spelling of the address, give no further guesses."""
    _, other = await service.client("client_ip")
    for n in range(20):
        auth, ip = (web, HOME) if n % 2 else (other, f"::ffff:{HOME}")
        assert (await log_in(service, auth, ip, f"user{n}", WRONG)).status_code == 401
    assert_problem(await log_in(service, other, HOME), 429, "too_many_attempts")


async def test_the_network_of_the_user_becomes_known(service: Service, web: Auth) -> None:
    """A user passes the lock of the account from the network that the web server named, and from no other."""
    await service.user()
    assert (await log_in(service, web, HOME)).status_code == 200
    for n in range(100):
        assert (await log_in(service, web, f"10.{n}.0.1", password=WRONG)).status_code == 401
    for ip in (ELSEWHERE, None):
        assert_problem(await log_in(service, web, ip), 429, "too_many_attempts")
    assert (await log_in(service, web, HOME)).status_code == 200


async def test_reset_codes_count_against_the_named_address(service: Service, web: Auth) -> None:
    """Invented reset codes count against the address that a web server names."""
    user = await service.user()
    code, _ = await new_reset_code(service.deps, OPERATOR, user.sub)
    for _ in range(20):
        assert_problem(await reset(service, web, HOME, an_invented_code()), 400, "invalid_grant")
    assert_problem(await reset(service, web, HOME, code), 429, "too_many_attempts")
    assert_problem(await reset(service, None, None, an_invented_code()), 400, "invalid_grant")
    assert (await reset(service, web, ELSEWHERE, code)).status_code == 204
    failed, done = (await events(service))[-2:]
    assert (failed["ip"], failed.get("client_id")) == ("192.0.2.1", None), "without `ip`, the address of the caller"
    assert (done["event"], done["ip"], done["client_id"]) == ("password.reset", ELSEWHERE, web[0])


@pytest.mark.parametrize("kind", ["nobody", "the built-in client", "a public client", "another client", "an admin"])
async def test_only_a_client_with_the_permission_names_an_address(
    service: Service, valkey: "redis.Redis", kind: str
) -> None:
    """Without the permission `ip` is refused before a password is checked or an attempt is counted."""
    await service.user()
    fields: dict[str, Any] = {}
    auth: Auth | None = None
    if kind == "the built-in client":
        fields = {"client_id": "app"}
    elif kind == "a public client":
        fields = {"client_id": (await service.client(public=True))[0].client_id}
    elif kind == "another client":
        _, auth = await service.client("introspect", "revoke", "issue", "reset")
    elif kind == "an admin":
        auth = service.admin
    for password in (PASSWORD, WRONG):
        answer = await log_in(service, auth, HOME, password=password, **fields)
        assert_problem(answer, 403, "unauthorized_client")
        assert "client_ip" in answer.json()["error_description"]
    if not fields:
        assert_problem(await reset(service, auth, HOME, an_invented_code()), 403, "unauthorized_client")
    assert counted(valkey) == []


async def test_a_client_loses_the_permission_at_once(service: Service, web: Auth) -> None:
    """The next login after the permission is taken away is refused."""
    await service.user()
    assert (await log_in(service, web, HOME)).status_code == 200
    path = f"/admin/clients/{web[0]}"
    assert (await service.http.patch(path, json={"permissions": []}, auth=service.admin)).status_code == 200
    assert_problem(await log_in(service, web, HOME), 403, "unauthorized_client")


async def test_a_public_client_cannot_get_the_permission(service: Service) -> None:
    """A public client proves nothing, so it gets no permission to name addresses."""
    new = {"name": "an app", "public": True, "permissions": ["client_ip"]}
    answer = await service.http.post("/admin/clients", json=new, auth=service.admin)
    assert_problem(answer, 400, "invalid_request")


async def test_a_wrong_secret_names_no_address(service: Service, web: Auth) -> None:
    """With a wrong secret, or with the id alone, the client is refused."""
    await service.user()
    impostor = (web[0], "sec_wrong")
    assert_problem(await log_in(service, impostor, HOME), 401, "invalid_client")
    assert_problem(await log_in(service, None, HOME, client_id=web[0]), 401, "invalid_client")
    assert_problem(await reset(service, impostor, HOME, an_invented_code()), 401, "invalid_client")


@pytest.mark.parametrize("ip", ["", "203.0.113.77:80", "[2001:db8::1]", "fe80::1%eth0", "10.0.0.0/8", "a.example", 1])
async def test_a_malformed_address_is_refused(service: Service, web: Auth, valkey: "redis.Redis", ip: Any) -> None:
    """What is no plain address is 400 and names the field. Nothing is counted."""
    await service.user()
    for answer in (await log_in(service, web, ip), await reset(service, web, ip, an_invented_code())):
        assert_problem(answer, 400, "invalid_request")
        assert answer.json()["error_description"].startswith("ip: ")
    assert counted(valkey) == []


async def test_sessions_and_the_audit_trail_show_the_named_address(service: Service, web: Auth) -> None:
    """The list of sessions and the audit trail have the user's address. The trail also names the web server."""
    await service.user()
    await log_in(service, web, "2001:DB8:0::7", password=WRONG)
    token = (await log_in(service, web, "2001:DB8:0::7")).json()["access_token"]
    listed = (await service.http.get("/sessions", headers=bearer(token))).json()["items"]
    assert [session["ip"] for session in listed] == ["2001:db8::7"]
    trail = [(entry["event"], entry["ip"], entry["client_id"]) for entry in (await events(service))[-2:]]
    assert trail == [(event, "2001:db8::7", web[0]) for event in ("login.failed", "login.succeeded")]


async def test_a_replaced_session_ends_at_the_named_address(service: Service, web: Auth) -> None:
    """In cookie mode the end of the browser's old session has the user's address too."""
    await service.user()
    old = await login_by_cookie(service)
    headers = {"Origin": ORIGIN, "Cookie": f"__Host-session={old}"}
    body = {"username": "ada", "password": PASSWORD, "cookie": True, "ip": HOME}
    answer = await service.http.post("/login", json=body, headers=headers, auth=web)
    assert cookie_of(answer) != old
    ended = (await events(service))[-1]
    assert (ended["event"], ended["ip"], ended["client_id"]) == ("session.ended", HOME, "app")
