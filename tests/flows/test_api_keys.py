"""Keys: whose they are, what they open, what ends them, and what they cost."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import httpx
import pytest
import redis

from authsvc.core import api_key
from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.flows import import_keys, leaked
from authsvc.flows.deps import OPERATOR, Caller
from authsvc.settings import Settings
from authsvc.store import keys
from tests.conftest import APP_SCOPE, CHEAP, PASSWORD, Clock, Service, bearer
from tests.flows.contents import Commands, texts
from tests.selection import one_in

NEW = "four herons at dawn"
DAY = 86400


class Owner:
    """A user with a session, who makes keys."""

    def __init__(self, service: Service, sub: str, session: dict[str, Any]) -> None:
        self.service, self.http, self.sub, self.session = service, service.http, sub, session

    @property
    def headers(self) -> dict[str, str]:
        return bearer(self.session["access_token"])

    async def ask(self, **body: Any) -> httpx.Response:
        return await self.http.post("/keys", json={"name": "backup"} | body, headers=self.headers)

    async def key(self, **body: Any) -> dict[str, Any]:
        answer = await self.ask(**body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def listed(self, **query: Any) -> list[dict[str, Any]]:
        answer = await self.http.get("/keys", params=query, headers=self.headers)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def rotated(self, key_id: str, **body: Any) -> dict[str, Any]:
        answer = await self.http.post(f"/keys/{key_id}/rotate", json=body, headers=self.headers)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made


@pytest.fixture
async def ada(service: Service) -> Owner:
    user = await service.user(roles=("editor",))
    return Owner(service, user.sub, await service.login(scope="orders:read orders:write"))


async def test_a_key_speaks_for_its_user(service: Service, ada: Owner) -> None:
    """Introspection, the batch and gateways take a key, and tell the roles that its user has now."""
    made = await ada.key(scope="orders:read")
    assert made.keys() == {"key", "key_id", "name", "scope", "exp"}
    token = tokens.parse(made["key"], Kind.KEY)
    assert token is not None
    assert token.handle == made["key_id"]
    seen = await service.introspect(made["key"])
    assert (seen["token_use"], seen["sub"], seen["session_id"]) == ("key", ada.sub, made["key_id"])
    assert (seen["roles"], seen["scope"], seen["exp"]) == (["editor"], "orders:read", made["exp"])
    assert (seen["active"], seen["client_id"]) == (True, "app")
    assert not {"auth_time", "amr", "acr", "vouched_by"} & seen.keys()
    batch = await service.http.post("/introspect/batch", json={"tokens": [made["key"], "x"]}, auth=service.admin)
    assert batch.json() == [seen, {"active": False}]
    verified = await service.http.get("/verify?scope=orders:read", headers=bearer(made["key"]))
    assert (verified.status_code, verified.headers["x-auth-subject"]) == (200, ada.sub)
    await service.http.patch(f"/admin/users/{ada.sub}", json={"roles": ["ops"]}, auth=service.admin)
    assert (await service.introspect(made["key"]))["roles"] == ["ops"]


async def test_the_secret_is_shown_once(ada: Owner, valkey: "redis.Redis") -> None:
    """The list has everything but the secret, and the store has its digest only."""
    made = await ada.key(scope="orders:read", networks=["203.0.113.0/24"], expires_in=7 * DAY)
    assert await ada.listed() == [
        {
            "key_id": made["key_id"],
            "name": "backup",
            "scope": "orders:read",
            "audience": [],
            "networks": ["203.0.113.0/24"],
            "client_id": "app",
            "created_at": made["exp"] - 7 * DAY,
            "exp": made["exp"],
            "expires_soon": True,
            "last_used_at": None,
            "last_used_ip": None,
        }
    ]
    secret = made["key"][16:43].encode()
    assert not any(secret in text for text in texts(valkey))


async def test_lifetimes(ada: Owner, clock: Clock) -> None:
    """90 days by default, a year at most, and never for ever."""
    assert (await ada.key())["exp"] == clock() + 90 * DAY
    assert (await ada.key(expires_in=365 * DAY))["exp"] == clock() + 365 * DAY
    for wrong in (365 * DAY + 1, 0, -1, 59, None, "90", True):
        assert (await ada.ask(expires_in=wrong)).json()["error"] == "invalid_request"
    assert [one["expires_soon"] for one in await ada.listed()] == [False, False]


async def test_scope_stays_within_that_of_the_session(service: Service, ada: Owner) -> None:
    """None by default. A token whose scope a refresh has narrowed makes keys within the narrow scope."""
    assert "scope" not in await ada.key()
    assert (await ada.ask(scope="orders:delete")).json()["error"] == "invalid_scope"
    narrowed = await service.refresh(ada.session["refresh_token"], scope="orders:read")
    ada.session = narrowed.json()
    assert (await ada.ask(scope="orders:write")).json()["error"] == "invalid_scope"
    assert (await ada.key(scope="orders:read"))["scope"] == "orders:read"


async def test_audience_stays_within_that_of_the_session(service: Service) -> None:
    base_url = service.deps.settings.base_url
    client, auth = await service.client(audience=("orders", "bills", base_url), scope="a")
    user = await service.user()
    answer = await service.http.post("/login", json={"username": "ada", "password": PASSWORD}, auth=auth)
    ada = Owner(service, user.sub, answer.json())
    made = await ada.key()
    assert (await service.introspect(made["key"]))["aud"] == ["orders", "bills", base_url]
    narrow = await ada.key(audience=["orders"])
    seen = await service.introspect(narrow["key"])
    assert (seen["aud"], seen["client_id"]) == ("orders", client.client_id)
    for wrong in (["orders", "payments"], []):
        assert (await ada.ask(audience=wrong)).json()["error"] == "invalid_request"
    _, elsewhere = await service.client("introspect", audience=("bills",))
    assert await service.introspect(narrow["key"], elsewhere) == {"active": False}


ACCOUNT = (
    *(("GET", "/me"), ("GET", "/sessions"), ("DELETE", "/sessions"), ("DELETE", "/sessions/4fQ0kzPq1LxA")),
    *(("POST", "/logout"), ("POST", "/password"), ("POST", "/step-up"), ("GET", "/factors"), ("POST", "/factors/totp")),
    *(("GET", "/keys"), ("POST", "/keys"), ("DELETE", "/keys/4fQ0kzPq1LxA"), ("POST", "/keys/4fQ0kzPq1LxA/rotate")),
    *(("GET", "/admin/users"), ("POST", "/admin/users"), ("GET", "/admin/audit"), ("DELETE", "/admin/clients/app")),
)


async def test_a_key_opens_no_account(service: Service) -> None:
    """Neither the calls of users nor those of admins, though its user is an admin."""
    user = await service.user(roles=("admin",))
    key = (await Owner(service, user.sub, await service.login()).key())["key"]
    for method, path in ACCOUNT:
        answer = await service.http.request(method, path, headers=bearer(key))
        assert (answer.status_code, answer.json()["error"]) == (403, "access_denied"), path
    assert (await service.refresh(key)).json()["error"] == "invalid_grant"
    assert await service.active(key)


async def test_making_a_key_takes_a_recent_login(service: Service, ada: Owner, clock: Clock) -> None:
    """So does rotating one. Accounts without a second factor prove the password."""
    made = await ada.key()
    clock.forward(601)
    for path in ("/keys", f"/keys/{made['key_id']}/rotate"):
        answer = await service.http.post(path, json={"name": "x"}, headers=ada.headers)
        assert (answer.status_code, answer.json()["error"]) == (401, "insufficient_user_authentication"), path
    assert await service.active(made["key"])
    revoked = await service.http.delete(f"/keys/{made['key_id']}", headers=ada.headers)
    assert revoked.status_code == 204


async def test_others_keys_do_not_exist(service: Service, ada: Owner) -> None:
    """For another user a key is unknown. A session is no key, and a key is no session."""
    made = await ada.key()
    await service.user("bob")
    bob = await service.login("bob")
    for id_ in (made["key_id"], bob["session_id"], "x", made["key"], tokens.new_handle()):
        for method, path in (("DELETE", f"/keys/{id_}"), ("POST", f"/keys/{id_}/rotate")):
            answer = await service.http.request(method, path, headers=bearer(bob["access_token"]))
            assert (answer.status_code, answer.json()["error"]) == (404, "not_found"), path
    answer = await service.http.delete(f"/sessions/{made['key_id']}", headers=ada.headers)
    assert answer.status_code == 404
    assert await service.active(made["key"])
    assert await service.active(bob["access_token"])


class Ending:
    """Ways to end sessions and keys."""

    def __init__(self, ada: Owner, made: dict[str, Any]) -> None:
        self.ada, self.made, self.http, self.admin = ada, made, ada.http, ada.service.admin

    async def logout(self) -> httpx.Response:
        return await self.http.post("/logout", headers=self.ada.headers)

    async def others(self) -> httpx.Response:
        return await self.http.delete("/sessions", headers=self.ada.headers)

    async def password(self, **more: Any) -> httpx.Response:
        body = {"current_password": PASSWORD, "new_password": NEW} | more
        return await self.http.post("/password", json=body, headers=self.ada.headers)

    async def password_and_keys(self) -> httpx.Response:
        return await self.password(end_keys=True)

    async def everywhere(self) -> httpx.Response:
        return await self.http.delete("/sessions?all=true", headers=self.ada.headers)

    async def reset(self) -> httpx.Response:
        code = await self.http.post(f"/admin/users/{self.ada.sub}/reset-code", auth=self.admin)
        body = {"reset_code": code.json()["reset_code"], "new_password": NEW}
        return await self.http.post("/password/reset", json=body)

    async def by_admin(self) -> httpx.Response:
        return await self.http.delete(f"/admin/users/{self.ada.sub}/sessions", auth=self.admin)

    async def keys_by_admin(self) -> httpx.Response:
        return await self.http.delete(f"/admin/users/{self.ada.sub}/keys", auth=self.admin)

    async def suspension(self) -> httpx.Response:
        path = f"/admin/users/{self.ada.sub}"
        suspended = await self.http.patch(path, json={"status": "suspended"}, auth=self.admin)
        assert suspended.status_code == 200
        assert not await self.ada.service.active(self.made["key"])
        return await self.http.patch(path, json={"status": "active"}, auth=self.admin)

    async def deletion(self) -> httpx.Response:
        return await self.http.delete(f"/admin/users/{self.ada.sub}", auth=self.admin)

    async def by_owner(self) -> httpx.Response:
        return await self.http.delete(f"/keys/{self.made['key_id']}", headers=self.ada.headers)

    async def revoke(self, **form: str) -> httpx.Response:
        return await self.http.post("/revoke", data=form, auth=self.admin)

    async def of_the_user(self) -> httpx.Response:
        return await self.revoke(sub=self.ada.sub)

    async def of_the_client(self) -> httpx.Response:
        return await self.revoke(client_id="app")

    async def of_everybody(self) -> httpx.Response:
        return await self.revoke(all="true")

    async def by_id(self) -> httpx.Response:
        return await self.revoke(session_id=self.made["key_id"])

    async def by_text(self) -> httpx.Response:
        return await self.revoke(token=self.made["key"])


SURVIVED = (Ending.logout, Ending.others, Ending.password)
FATAL = (
    *(Ending.password_and_keys, Ending.everywhere, Ending.reset, Ending.by_admin, Ending.keys_by_admin),
    *(Ending.suspension, Ending.deletion, Ending.by_owner, Ending.of_the_user, Ending.of_the_client),
    *(Ending.of_everybody, Ending.by_id, Ending.by_text),
)
Ways = Callable[[Ending], Awaitable[httpx.Response]]


@pytest.mark.parametrize("way", one_in(3, [*SURVIVED, *FATAL]), ids=lambda way: way.__name__)
async def test_what_ends_a_key(service: Service, ada: Owner, clock: Clock, valkey: "redis.Redis", way: Ways) -> None:
    """A key survives the logout, the end of other sessions and a new password. Everything else ends it at once.

    The answers are remembered before. A second key, of another user, always goes on.
    """
    made = await ada.key()
    rotated = await ada.rotated(made["key_id"])
    texts = [made["key"], rotated["key"]]
    await service.user("bob")
    other = (await Owner(service, "", await service.login("bob")).key())["key"]
    clock.forward(1)
    for _ in range(3):
        assert [(await service.introspect(text))["active"] for text in (*texts, other)] == [True] * 3
        await service.deps.store.sessions.finish()
    assert (await way(Ending(ada, made))).status_code in (200, 204)
    survives = way in SURVIVED
    assert [(await service.introspect(text))["active"] for text in texts] == [survives] * 2
    assert [(await service.http.get("/verify", headers=bearer(text))).status_code for text in texts] == (
        [200 if survives else 401] * 2
    )
    assert (await service.introspect(other))["active"] is (way not in (Ending.of_the_client, Ending.of_everybody))
    await service.deps.store.sessions.finish()
    if not survives and way not in (Ending.of_the_client, Ending.of_everybody):
        assert valkey.get(keys.session(made["key_id"])) is None, "the memory is freed"
        assert valkey.zcard(keys.api_keys(ada.sub)) == 0


async def test_the_end_of_all_keys_ends_no_session(service: Service, ada: Owner) -> None:
    """A session that was spared when the user ended all others goes on when an admin ends the keys."""
    await ada.key()
    ends = (
        service.http.delete("/sessions", headers=ada.headers),
        service.http.delete(f"/admin/users/{ada.sub}/keys", auth=service.admin),
    )
    for end in ends:
        assert (await end).status_code == 204
        await service.deps.store.sessions.finish()
    assert (await service.introspect(ada.session["access_token"]))["active"]


async def test_a_new_user_revives_no_key(service: Service, clock: Clock) -> None:
    """A user who is deleted and made again with the same subject, in the same second, has no keys."""
    issue = {"sub": "far|1", "amr": ["pwd"], "auth_time": int(clock())}
    keys_of_far = "/admin/users/far%7C1/keys"
    await service.http.post("/tokens", json=issue, auth=service.admin)
    key = (await service.http.post(keys_of_far, json={"name": "x"}, auth=service.admin)).json()["key"]
    record = service.deps.store.connection
    held = await record.call("GET", keys.session(key[4:16]))
    assert await service.active(key)
    assert (await service.http.delete("/admin/users/far%7C1", auth=service.admin)).status_code == 204
    await service.deps.store.sessions.finish()
    clock.forward(0.001)
    await service.http.post("/tokens", json=issue, auth=service.admin)
    assert (await service.http.post(keys_of_far, json={"name": "y"}, auth=service.admin)).status_code == 201
    await record.call("SET", keys.session(key[4:16]), held)  # as if its deletion were still to come
    assert not await service.active(key)


async def test_when_a_key_expires(service: Service, ada: Owner, clock: Clock) -> None:
    """At its own time, used or not, and never because it is idle."""
    made = await ada.key(expires_in=30 * DAY)
    clock.forward(30 * DAY - 1)
    assert await service.active(made["key"])
    clock.forward(1)
    assert not await service.active(made["key"])
    assert await service.deps.store.api_keys.page(ada.sub, None, 10, clock()) == ([], None)


async def test_rotation(service: Service, ada: Owner, clock: Clock) -> None:
    """The key keeps its id and its end. The last secret stays good for the overlap, an earlier one stops at once."""
    first = await ada.key(scope="orders:read")
    clock.forward(100)
    second = await ada.rotated(first["key_id"], overlap_s=60)
    assert second.keys() == first.keys()
    assert {name: second[name] for name in ("key_id", "exp", "name", "scope")} == {
        name: first[name] for name in ("key_id", "exp", "name", "scope")
    }
    assert second["key"] != first["key"]
    told = [await service.introspect(one["key"]) for one in (first, second)]
    assert [one["exp"] for one in told] == [clock() + 60, first["exp"]]
    assert told[1]["iat"] == clock()
    third = await ada.rotated(first["key_id"])
    assert [await service.active(one["key"]) for one in (first, second, third)] == [False, True, True]
    clock.forward(DAY)
    assert [await service.active(one["key"]) for one in (first, second, third)] == [False, False, True]
    clock.forward(-DAY)
    fourth = await ada.rotated(first["key_id"], overlap_s=0)
    assert [await service.active(one["key"]) for one in (third, fourth)] == [False, True]
    for wrong in (-1, 30 * DAY + 1, "60", None):
        answer = await service.http.post(
            f"/keys/{first['key_id']}/rotate", json={"overlap_s": wrong}, headers=ada.headers
        )
        assert answer.json()["error"] == "invalid_request"


async def test_an_overlap_prolongs_no_key(service: Service, ada: Owner, clock: Clock) -> None:
    made = await ada.key(expires_in=300)
    rotated = await ada.rotated(made["key_id"], overlap_s=30 * DAY)
    assert (await service.introspect(made["key"]))["exp"] == made["exp"]
    clock.forward(300)
    assert [await service.active(one["key"]) for one in (made, rotated)] == [False, False]


async def test_any_secret_of_a_key_revokes_it(service: Service, ada: Owner, clock: Clock) -> None:
    """Also the last one after its overlap. A text that was never issued revokes nothing."""
    made = await ada.key()
    rotated = await ada.rotated(made["key_id"], overlap_s=10)
    clock.forward(11)
    for text in (tokens.new(Kind.KEY, made["key_id"]).text, tokens.new(Kind.ACCESS, made["key_id"]).text):
        await service.http.post("/revoke", data={"token": text}, auth=service.admin)
        assert await service.active(rotated["key"])
    await service.http.post("/revoke", data={"token": made["key"]}, auth=service.admin)
    assert not await service.active(rotated["key"])


async def test_the_last_use_is_noted_once_an_hour(
    service: Service, ada: Owner, clock: Clock, commands: Commands, valkey: "redis.Redis"
) -> None:
    """The first use at once, with the address that the resource server sent. All others cost no write."""
    made = await ada.key()

    async def ask(**form: str) -> None:
        answer = await service.http.post("/introspect", data={"token": made["key"], **form}, auth=service.admin)
        assert answer.json()["active"]
        await service.deps.store.sessions.finish()

    async def last_use() -> tuple[int | None, str | None]:
        listed = await service.http.get(f"/admin/users/{ada.sub}/keys", auth=service.admin)
        (one,) = listed.json()["items"]
        return one["last_used_at"], one["last_used_ip"]

    clock.forward(30)
    await ask(ip="2001:DB8::7")
    assert await last_use() == (clock(), "2001:db8::7")
    used, expires = clock(), valkey.pexpiretime(keys.session(made["key_id"]))
    assert expires == made["exp"] * 1000
    await ask()
    commands.reset()
    for _ in range(200):
        clock.forward(17)
        await ask()
    # The session is looked up until the answer is remembered.
    assert commands.seen().keys() == {"mget"}
    assert await last_use() == (used, "2001:db8::7")
    clock.forward(200)
    await ask()
    assert await last_use() == (clock(), None)
    assert valkey.pexpiretime(keys.session(made["key_id"])) == expires


async def test_a_key_costs_what_a_session_costs(service: Service, ada: Owner, commands: Commands) -> None:
    """Unknown, remembered, in the batch and for gateways: a key takes the same commands as a session."""
    key, token = (await ada.key())["key"], ada.session["access_token"]
    for text in (token, key):
        await service.introspect(text)  # notes the first use of the key
    await service.deps.store.sessions.finish()
    costs: list[list[dict[str, int]]] = []
    for text in (token, key):
        costs.append([])
        for _ in range(4):
            for ask in (
                service.http.post("/introspect", data={"token": text}, auth=service.admin),
                service.http.post("/introspect/batch", json={"tokens": [text] * 2}, auth=service.admin),
                service.http.get("/verify", headers=bearer(text)),
            ):
                commands.reset()
                assert (await ask).status_code == 200
                costs[-1].append(commands.seen())
    assert costs[0] == costs[1]
    assert costs[1][-3:] == [{"mget": 1}, {"mget": 2}, {"mget": 2}]


async def test_networks(service: Service, ada: Owner) -> None:
    """A key with networks is active only for an address in one of them, which the resource server has to send."""
    made = await ada.key(networks=["203.0.113.0/24", "2001:db8::/32", "192.0.2.7"])
    cases = {
        **{"": False, "203.0.113.77": True, "203.0.114.1": False, "::ffff:203.0.113.9": True},
        **{"2001:db8:1::1": True, "2001:db9::1": False, "192.0.2.7": True, "192.0.2.8": False},
    }
    for _ in range(3):
        for ip, active in cases.items():
            answer = await service.http.post("/introspect", data={"token": made["key"], "ip": ip}, auth=service.admin)
            assert answer.json()["active"] is active, ip
            assert "recheck_at" not in answer.json(), "nobody may cache the answer"
            body = {"tokens": [made["key"]]} | ({"ip": ip} if ip else {})
            answer = await service.http.post("/introspect/batch", json=body, auth=service.admin)
            assert answer.json()[0]["active"] is active, ip
            await service.deps.store.sessions.finish()
    assert len(service.deps.memory) == 0
    for headers in ({}, {"X-Forwarded-For": "203.0.113.77"}, {"X-Real-IP": "203.0.113.77"}):
        answer = await service.http.get("/verify", headers=bearer(made["key"]) | headers)
        assert answer.status_code == 401
    await service.http.post("/revoke", data={"token": made["key"]}, auth=service.admin)
    asked = {"token": made["key"], "ip": "203.0.113.77"}
    assert (await service.http.post("/introspect", data=asked, auth=service.admin)).json() == {"active": False}


@pytest.mark.parametrize("network", ["::ffff:203.0.113.0/120", "::ffff:203.0.113.7"])
async def test_a_network_of_mapped_addresses(service: Service, ada: Owner, network: str) -> None:
    """It admits the IPv4 addresses that it names, as each of them is counted as IPv4."""
    made = await ada.key(networks=[network])
    for ip in ("203.0.113.7", "::ffff:203.0.113.7"):
        answer = await service.http.post("/introspect", data={"token": made["key"], "ip": ip}, auth=service.admin)
        assert answer.json()["active"] is True


@pytest.mark.parametrize(
    "networks", [["x"], ["fe80::1%eth0"], ["203.0.113.1/24"], ["1.2.3.4/33"], ["1.2.3.4"] * 17, "1.2.3.4", [1]]
)
async def test_what_is_no_network(ada: Owner, networks: Any) -> None:
    assert (await ada.ask(networks=networks)).json()["error"] == "invalid_request"


@pytest.mark.parametrize("ip", ["x", "1.2.3", "1.2.3.4:80", "[::1]", "fe80::1%eth0"])
async def test_what_is_no_address(service: Service, ip: str) -> None:
    answer = await service.http.post("/introspect", data={"token": "x", "ip": ip}, auth=service.admin)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_an_address_does_not_change_a_session(service: Service, ada: Owner, clock: Clock) -> None:
    """The list of sessions shows the address of the login, whatever a resource server sends."""
    clock.forward(14 * DAY // 20)
    refreshed = (await service.refresh(ada.session["refresh_token"])).json()
    asked = {"token": refreshed["access_token"], "ip": "203.0.113.77"}
    clock.forward(800)
    assert (await service.http.post("/introspect", data=asked, auth=service.admin)).json()["active"]
    await service.deps.store.sessions.finish()
    session = await service.deps.store.sessions.get(ada.session["session_id"])
    assert session.ip == "192.0.2.1"


async def test_sessions_and_users_without_keys_do_not_grow(ada: Owner, valkey: "redis.Redis") -> None:
    """The records of a user without keys have no member for keys."""
    names = keys.user(ada.sub), keys.session(ada.session["session_id"])

    def members() -> list[set[str]]:
        return [set(json.loads(valkey.get(name) or b"")) for name in names]

    user, session = members()
    assert "key_epoch" not in user
    await ada.key()
    assert members() == [user | {"key_epoch", "v"}, session]


async def test_pages(service: Service, ada: Owner, clock: Clock) -> None:
    """Every key once, those that end first go first, also if a key of the last page is gone and if ends are equal."""
    made = [await ada.key(name=f"key {n}", expires_in=1000 * DAY // (3 + n % 3)) for n in range(12)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "5"} | ({"cursor": cursor} if cursor else {})
        page = (await service.http.get("/keys", params=query, headers=ada.headers)).json()
        seen += [one["key_id"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
        gone = page["items"][-1]["key_id"]
        assert (await service.http.delete(f"/keys/{gone}", headers=ada.headers)).status_code == 204
    assert sorted(seen) == sorted(one["key_id"] for one in made)
    ends = {one["key_id"]: one["exp"] for one in made}
    assert [ends[key_id] for key_id in seen] == sorted(ends.values())
    by_admin = await service.http.get(f"/admin/users/{ada.sub}/keys", auth=service.admin)
    assert len(by_admin.json()["items"]) == 10
    for wrong in ("x", "1", "1-x", "99999999999999-4fQ0kzPq1LxA"):
        answer = await service.http.get("/keys", params={"cursor": wrong}, headers=ada.headers)
        assert answer.json()["error"] == "invalid_request"


@pytest.mark.slow
@pytest.mark.parametrize("equal", [False, True])
async def test_ten_thousand_keys(service: Service, ada: Owner, clock: Clock, *, equal: bool) -> None:
    """A user with as many keys as there may be gets each key once, also if all of them end together.

    It prints how long a page takes. A busy machine says nothing about that, so the test asserts no time.
    """
    made = await ada.key()
    session = await service.deps.store.sessions.get(made["key_id"])
    for number in range(api_key.MAX_KEYS - 1):
        life_s = session.lifetimes.session - (0 if equal else number * 60)
        one = session.but(lifetimes=session.lifetimes._replace(access=life_s, session=life_s))
        await service.deps.store.sessions.add_key(tokens.new_handle(), one, clock())
    assert (await ada.ask()).json()["error"] == "invalid_request"
    seen: set[str] = set()
    cursor, pages, longest = None, 0, 0.0
    while True:
        query = {"limit": "1000"} | ({"cursor": cursor} if cursor else {})
        began = time.perf_counter()
        answers = [await service.http.get("/keys", params=query, headers=ada.headers) for _ in range(3)]
        longest = max(longest, (time.perf_counter() - began) / 3)
        page = answers[0].json()
        seen |= {one["key_id"] for one in page["items"]}
        cursor, pages = page["next"], pages + 1
        if cursor is None:
            break
    assert (len(seen), pages) == (api_key.MAX_KEYS, 10)
    print(f"the slowest page of 1,000 keys took {longest * 1000:.0f} ms")  # noqa: T201 - a figure for people
    began = time.perf_counter()
    await service.http.get("/keys", headers=ada.headers)
    print(f"a page of 100 took {(time.perf_counter() - began) * 1000:.0f} ms")  # noqa: T201 - a figure for people


async def test_keys_are_bounded(ada: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user has a bound, and a revoked or expired key makes room."""
    monkeypatch.setattr(api_key, "MAX_KEYS", 3)
    made = [await ada.key() for _ in range(3)]
    answer = await ada.ask()
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert len(await ada.listed()) == 3
    await ada.http.delete(f"/keys/{made[0]['key_id']}", headers=ada.headers)
    await ada.key()


async def test_many_keys_at_once(service: Service, ada: Owner) -> None:
    """Only the first key of a user changes the user's record, so others wait for no change of it."""
    await ada.key()
    path = f"/admin/users/{ada.sub}/keys"
    made = await asyncio.gather(
        *(service.http.post(path, json={"name": f"{n}"}, auth=service.admin) for n in range(50)),
        *(ada.ask(name=f"mine {n}") for n in range(50)),
    )
    assert {answer.status_code for answer in made} == {201}


async def test_keys_do_not_count_as_sessions(service: Service, ada: Owner) -> None:
    """Keys are in no list of sessions, and a login never ends one to make room."""
    made = await ada.key()
    sessions = await service.http.get("/sessions", headers=ada.headers)
    assert [one["session_id"] for one in sessions.json()["items"]] == [ada.session["session_id"]]
    service.deps.settings.__dict__["max_sessions"] = 1
    for _ in range(3):
        await service.login()
    assert await service.active(made["key"])


async def test_an_admin_makes_keys(service: Service, ada: Owner) -> None:
    """Within the scope and the audience of the client, by default `app`; the admin names any scope for `app`."""
    path = f"/admin/users/{ada.sub}/keys"
    made = await service.http.post(path, json={"name": "x", "scope": "billing"}, auth=service.admin)
    assert made.status_code == 201
    seen = await service.introspect(made.json()["key"])
    assert (seen["scope"], seen["client_id"], seen["sub"]) == ("billing", "app", ada.sub)
    client, _ = await service.client(scope="orders:read", audience=("orders",))
    wanted = {"name": "x", "client_id": client.client_id}
    made = await service.http.post(path, json=wanted | {"scope": "orders:read"}, auth=service.admin)
    assert (await service.introspect(made.json()["key"]))["aud"] == "orders"
    for wrong, error in (
        ({"scope": "billing"}, "invalid_scope"),
        ({"audience": ["bills"]}, "invalid_request"),
        ({"client_id": "nobody"}, "invalid_request"),
    ):
        answer = await service.http.post(path, json=wanted | wrong, auth=service.admin)
        assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert len((await service.http.get(path, auth=service.admin)).json()["items"]) == 2
    for method in ("GET", "POST", "DELETE"):
        answer = await service.http.request(method, "/admin/users/nobody/keys", json={"name": "x"}, auth=service.admin)
        assert answer.status_code == 404 or (method == "GET" and answer.status_code == 404), method


async def test_a_suspended_user_gets_no_key(service: Service, ada: Owner) -> None:
    path = f"/admin/users/{ada.sub}"
    await service.http.patch(path, json={"status": "suspended"}, auth=service.admin)
    answer = await service.http.post(f"{path}/keys", json={"name": "x"}, auth=service.admin)
    assert (answer.status_code, answer.json()["error"]) == (403, "access_denied")


class TestWithAWord:
    """AUTHSVC_KEY_PREFIX."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP, app_scope=APP_SCOPE, key_prefix="acme")

    async def test_the_word_stands_in_front(self, service: Service, ada: Owner) -> None:
        """Keys with the word work, and keys from before the setting work on. A rotation gives them the word."""
        made = await ada.key()
        assert made["key"].startswith("acme_key_")
        assert made["key"][9:21] == made["key_id"]
        service.deps.settings.__dict__["key_prefix"] = ""
        plain = await ada.key()
        assert plain["key"].startswith("key_")
        service.deps.settings.__dict__["key_prefix"] = "acme"
        rotated = await ada.rotated(plain["key_id"])
        assert rotated["key"].startswith("acme_key_")
        for text in (made["key"], plain["key"], rotated["key"]):
            assert await service.active(text)
            assert (await service.http.get("/verify", headers=bearer(text))).status_code == 200
        assert not await service.active(made["key"].removeprefix("acme_"))


async def test_events(service: Service, ada: Owner) -> None:
    """The trail tells what happened to a key, by whom, and never its name or secret."""
    made = await ada.key(name="a secret plan")
    await ada.rotated(made["key_id"], overlap_s=60)
    await ada.http.delete(f"/keys/{made['key_id']}", headers=ada.headers)
    await service.http.delete(f"/admin/users/{ada.sub}/keys", auth=service.admin)
    trail = (await service.http.get("/admin/audit", auth=service.admin)).json()["items"]
    of_keys = [one for one in trail if "key" in one["event"]][::-1]
    assert [one["event"] for one in of_keys] == ["key.created", "key.rotated", "key.revoked", "user.keys_cut_off"]
    assert [one.get("session_id") for one in of_keys] == [*[made["key_id"]] * 3, None]
    assert {one["actor"] for one in of_keys[:3]} == {f"user:{ada.sub}"}
    assert (of_keys[0]["details"], of_keys[1]["details"]) == ({"end": made["exp"]}, {"overlap_s": 60})
    assert "a secret plan" not in json.dumps(trail)


async def reported(service: Service) -> list[dict[str, Any]]:
    """The events of leaked tokens, newest first."""
    trail = (await service.http.get("/admin/audit", auth=service.admin)).json()["items"]
    return [item for item in trail if item["event"] == "token.leaked"]


async def test_a_leaked_key_ends(service: Service, ada: Owner) -> None:
    """A report ends the key and leaves the user's other keys and sessions. The list has it no more."""
    made, other = await ada.key(scope="orders:read"), await ada.key()
    await leaked.report(service.deps, Caller(), [(made["key"], None)])
    assert not await service.active(made["key"])
    assert await service.active(other["key"])
    assert [item["key_id"] for item in await ada.listed()] == [other["key_id"]]
    [event] = await reported(service)
    assert (event["reason"], event["session_id"]) == ("key", made["key_id"])
    assert event["details"]["scope"] == "orders:read"
    assert event["details"]["token"] == f"key_{made['key_id']}"


async def test_the_former_text_of_a_key_ends_alone(service: Service, ada: Owner, clock: Clock) -> None:
    """A key that was rotated, perhaps because it had leaked, goes on when its former text is reported."""
    made = await ada.key()
    rotated = await ada.rotated(made["key_id"])
    assert await service.active(made["key"])
    await leaked.report(service.deps, Caller(), [(made["key"], None)])
    assert not await service.active(made["key"])
    assert await service.active(rotated["key"])
    [event] = await reported(service)
    assert (event["reason"], event["details"]["was"]) == ("former_key", "active")
    await leaked.report(service.deps, Caller(), [(made["key"], None)])
    assert len(await reported(service)) == 1
    await leaked.report(service.deps, Caller(), [(made["key"], None), (rotated["key"], None)])
    assert not await service.active(rotated["key"])


class TestForeign:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP, app_scope=APP_SCOPE, foreign_key_prefixes=("sk_live_",))

    async def test_a_leaked_foreign_key_ends(self, service: Service, ada: Owner, clock: Clock) -> None:
        """A key of another system is known by its prefix, and the place is kept without its text."""
        text = "sk_live_51H8sdfKJHsdfkjhsdfKJHSDF"
        row = import_keys.Row(sha256(text.encode()).digest(), ada.sub, "app", "old", int(clock()) + DAY, "", None, ())
        tally = await import_keys.import_keys(service.deps, OPERATOR, [(1, row)], dry_run=False)
        assert tally.imported == 1, tally
        assert await service.active(text)
        await leaked.report(service.deps, Caller(), [(text, f"https://git.example/?key={text}")])
        assert not await service.active(text)
        [event] = await reported(service)
        assert event["details"]["url"] == "https://git.example/?key=sk_live_…"
