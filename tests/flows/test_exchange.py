"""Exchanging a token for one with which its holder calls the next resource server (RFC 8693)."""

from typing import Any

import httpx
import pytest
import redis

from authsvc.api.schemas.requests import ACCESS_TOKEN, TOKEN_EXCHANGE
from authsvc.core import token as tokens
from authsvc.core.client import Client
from authsvc.core.exchanged import MOST
from authsvc.core.token import Kind
from authsvc.flows import leaked
from authsvc.flows.deps import Caller
from authsvc.flows.explain import explain
from authsvc.store import keys
from tests.conftest import PASSWORD, Clock, Service, bearer
from tests.flows.contents import Commands
from tests.flows.test_client_token import issued as client_token
from tests.selection import one_in

Credentials = tuple[str, str]


async def exchange(service: Service, auth: Credentials, subject: str, **form: str) -> httpx.Response:
    known = {"grant_type": TOKEN_EXCHANGE, "subject_token": subject, "subject_token_type": ACCESS_TOKEN}
    return await service.http.post("/token", data=known | form, auth=auth)


async def exchanged(service: Service, auth: Credentials, subject: str, **form: str) -> str:
    answer = await exchange(service, auth, subject, **form)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


@pytest.fixture
async def orders(service: Service) -> Credentials:
    """A resource server that exchanges the tokens that it is sent, for `billing` too."""
    permissions = ("introspect", "exchange")
    return (await service.client(*permissions, audience=("orders",), exchange_audience=("billing", "mail")))[1]


@pytest.fixture
async def billing(service: Service) -> Credentials:
    """The next resource server, which exchanges once more."""
    permissions = ("introspect", "exchange")
    return (await service.client(*permissions, audience=("billing",), exchange_audience=("ledger", "mail")))[1]


@pytest.fixture
async def app(service: Service) -> Client:
    """The client through which users log in, for the audience `orders`."""
    return (await service.client(public=True, audience=("orders", "files"), scope="orders:read orders:write a"))[0]


@pytest.fixture
async def login(service: Service, app: Client) -> dict[str, Any]:
    await service.user(roles=("editor",))
    return await service.login(client_id=app.client_id, scope="orders:read orders:write a")


@pytest.fixture
def token(login: dict[str, Any]) -> str:
    return str(login["access_token"])


async def test_the_new_token_speaks_for_the_user(
    service: Service, orders: Credentials, billing: Credentials, app: Client, token: str
) -> None:
    """The user, the roles and the login are those of the session. The client that acts is named."""
    answer = await exchange(service, orders, token, audience="billing", scope="orders:read")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    told = answer.json()
    assert (told["token_type"], told["scope"], told["expires_in"]) == ("Bearer", "orders:read", 900)
    assert told["issued_token_type"] == ACCESS_TOKEN
    assert "refresh_token" not in told
    assert told["access_token"] != token
    before, seen = await service.introspect(token, orders), await service.introspect(told["access_token"], billing)
    assert (seen["token_use"], seen["act"], seen["client_id"]) == ("exchanged", {"sub": orders[0]}, orders[0])
    assert (seen["scope"], seen["aud"]) == ("orders:read", "billing")
    same = ("active", "sub", "username", "roles", "session_id", "iss", "auth_time", "amr", "acr", "version")
    assert {name: seen[name] for name in same} == {name: before[name] for name in same}
    assert seen["cache"] == {"recheck_at": before["recheck_at"], "clients": [app.client_id]}
    assert "recheck_at" not in seen, "a cache that does not know of `cache` keeps nothing"
    assert not {"token_use", "act", "cache"} & before.keys()
    verified = await service.http.get(
        "/verify?scope=orders:read&audience=billing", headers=bearer(told["access_token"])
    )
    assert (verified.status_code, verified.headers["x-auth-subject"]) == (200, seen["sub"])
    batch = await service.http.post("/introspect/batch", json={"tokens": [told["access_token"]]}, auth=billing)
    assert batch.json() == [seen]


async def test_only_its_audience_sees_it(
    service: Service, orders: Credentials, billing: Credentials, token: str
) -> None:
    """The exchanged token is for the next resource server, and no longer for the one that exchanged."""
    child = await exchanged(service, orders, token, audience="billing")
    assert (await service.introspect(child, billing))["active"]
    assert await service.introspect(child, orders) == {"active": False}
    assert await service.introspect(token, billing) == {"active": False}
    refused = await service.http.get("/verify?audience=orders", headers=bearer(child))
    assert refused.status_code == 401


async def test_left_out_audience_and_scope(service: Service, orders: Credentials, token: str) -> None:
    """Without `audience` and `scope` the new token has those of the old one, as far as the client can get them."""
    seen = await service.introspect(await exchanged(service, orders, token))
    assert (seen["aud"], seen["scope"]) == (["orders", "files"], "orders:read orders:write a")
    assert (await service.introspect(await exchanged(service, orders, token, audience="files")))["aud"] == "files"
    _, narrow = await service.client("introspect", "exchange", audience=("orders",), scope="a b orders:write")
    assert (await service.introspect(await exchanged(service, narrow, token)))["scope"] == "orders:write a"
    answer = await exchange(service, narrow, token, scope="orders:read")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


async def test_what_is_refused(
    service: Service, orders: Credentials, billing: Credentials, login: dict[str, Any]
) -> None:
    """Each refusal has the error of RFC 8693 section 2.2.2, and stores nothing."""
    token = login["access_token"]
    _, without = await service.client("introspect", audience=("orders",))
    _, of_all = await service.client("introspect", "exchange")
    _, worker = await service.client("token", audience=("orders",))
    narrowed = (await service.refresh(login["refresh_token"], client_id=await _id_of(service, token), scope="a")).json()
    other = {"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}
    cases: tuple[tuple[Credentials, str, dict[str, str], int, str], ...] = (
        (without, token, {}, 403, "unauthorized_client"),
        (orders, token, {"audience": "ledger"}, 400, "invalid_target"),
        (orders, token, {"resource": "https://billing.example"}, 400, "invalid_target"),
        (orders, token, {"scope": "payments"}, 400, "invalid_scope"),
        (orders, narrowed["access_token"], {"scope": "orders:read"}, 400, "invalid_scope"),
        (orders, token[:-1] + "!", {}, 400, "invalid_request"),
        (orders, tokens.new(Kind.ACCESS, token[4:16]).text, {}, 400, "invalid_request"),
        (orders, narrowed["refresh_token"], {}, 400, "invalid_request"),
        (billing, token, {}, 400, "invalid_request"),
        (of_all, token, {}, 400, "invalid_request"),
        (orders, await client_token(service, worker), {}, 400, "invalid_request"),
        (orders, token, {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}, 400, "invalid_request"),
        (orders, token, other, 400, "invalid_request"),
        (orders, token, {"actor_token": token, "actor_token_type": ACCESS_TOKEN}, 400, "invalid_request"),
        (orders, "", {}, 400, "invalid_request"),
        ((orders[0], "sec_wrong"), token, {}, 401, "invalid_client"),
    )
    for auth, subject, form, status, code in cases:
        answer = await exchange(service, auth, subject, **form)
        assert (answer.status_code, answer.json()["error"]) == (status, code), (subject, form, answer.text)
    assert not (await service.deps.store.sessions.get(token[4:16])).exchanged


async def _id_of(service: Service, token: str) -> str:
    return (await service.deps.store.sessions.get(token[4:16])).client_id


async def test_a_token_for_every_audience(service: Service, orders: Credentials) -> None:
    """A client without an audience exchanges tokens without one. A client of one audience was not sent such a token."""
    await service.user()
    token = (await service.login())["access_token"]
    assert (await exchange(service, orders, token)).json()["error"] == "invalid_request"
    _, of_all = await service.client("introspect", "exchange", exchange_audience=("billing",))
    assert "aud" not in await service.introspect(await exchanged(service, of_all, token))
    assert (await service.introspect(await exchanged(service, of_all, token, audience="billing")))["aud"] == "billing"
    # A token for nobody in particular does not open a resource server that has an audience. So no name is within it.
    assert (await exchange(service, of_all, token, audience="orders")).json()["error"] == "invalid_target"


async def test_the_same_request_gets_the_same_token(
    service: Service, orders: Credentials, token: str, clock: Clock, commands: Commands
) -> None:
    """While it works for another minute; then there is a new one. A repetition writes nothing."""
    first = await exchange(service, orders, token, audience="billing", scope="a")
    clock.forward(840)
    commands.reset()
    again = await exchange(service, orders, token, audience="billing", scope="a")
    assert commands.seen() == {"mget": 3}, "the client's record, and two to look the token up"
    assert (again.json()["access_token"], again.json()["expires_in"]) == (first.json()["access_token"], 60)
    different = [
        await exchanged(service, orders, token, audience="billing", scope="orders:read"),
        await exchanged(service, orders, token, audience="mail", scope="a"),
        await exchanged(service, orders, token, audience="billing"),
    ]
    clock.forward(1)
    renewed = await exchange(service, orders, token, audience="billing", scope="a")
    assert renewed.json()["expires_in"] == 900
    assert len({first.json()["access_token"], renewed.json()["access_token"], *different}) == 5


async def test_a_revoked_token_is_not_given_again(service: Service, orders: Credentials, token: str) -> None:
    """The same request in the same moment gets another token, and the revoked one stays revoked."""
    first = await exchanged(service, orders, token, audience="billing")
    await service.http.post("/revoke", data={"token": first}, auth=orders)
    second = await exchanged(service, orders, token, audience="billing")
    assert (await service.active(first), await service.active(second)) == (False, True)


async def test_at_most_sixteen(service: Service, orders: Credentials, token: str, clock: Clock) -> None:
    """The 17th is 429, with the time until one expires. Revoked and expired ones make room."""
    words = ["", "a", "orders:read", "orders:write", "orders:read a", "orders:write a"]
    wishes = [{"audience": audience, "scope": scope} for audience in ("billing", "mail", "files") for scope in words]
    first = await exchanged(service, orders, token, **wishes[0])
    clock.forward(10)
    for wish in wishes[1:MOST]:
        await exchanged(service, orders, token, **wish)
    answer = await exchange(service, orders, token, **wishes[MOST])
    assert (answer.status_code, answer.json()["error"]) == (429, "too_many_tokens")
    assert answer.headers["retry-after"] == "890"
    assert await exchanged(service, orders, token, **wishes[0]) == first
    await service.http.post("/revoke", data={"token": first}, auth=orders)
    await exchanged(service, orders, token, **wishes[MOST])
    assert (await exchange(service, orders, token, **wishes[0])).status_code == 429
    clock.forward(890)
    token = (await service.login(client_id=await _id_of(service, token), scope="a"))["access_token"]
    await exchanged(service, orders, token, **wishes[1])


ENDS = ["time", "logout", "session_id", "token", "user", "suspended", "all", "client", "exchanger", "reuse", "deleted"]


@pytest.mark.parametrize("end", one_in(3, ENDS))
async def test_it_ends_with_its_session_and_its_client(
    service: Service, orders: Credentials, login: dict[str, Any], clock: Clock, end: str
) -> None:
    """Whatever ends the session ends the exchanged token, and so does whatever ends its client's sessions."""
    token, sub = login["access_token"], (await service.introspect(login["access_token"]))["sub"]
    child = await exchanged(service, orders, token, audience="billing")
    for _ in range(3):  # so that the answer is remembered
        assert (await service.introspect(child))["active"]
    client_id = await _id_of(service, token)
    forms = {
        "session_id": {"session_id": token[4:16]},
        "token": {"token": token},
        "user": {"sub": sub},
        "all": {"all": "true"},
        "client": {"client_id": client_id},
        "exchanger": {"client_id": orders[0]},
    }
    if end == "time":
        clock.forward(900)
    elif end == "logout":
        assert (await service.http.post("/logout", headers=bearer(token))).status_code == 204
    elif end == "suspended":
        await service.http.patch(f"/admin/users/{sub}", json={"status": "suspended"}, auth=service.admin)
    elif end == "reuse":
        for _ in range(2):
            clock.forward(60)
            answer = await service.refresh(login["refresh_token"], client_id=client_id)
        assert answer.status_code == 400
    elif end == "deleted":
        assert (await service.http.delete(f"/admin/clients/{orders[0]}", auth=service.admin)).status_code == 204
    else:
        assert (await service.http.post("/revoke", data=forms[end], auth=service.admin)).status_code == 200
    assert await service.introspect(child) == {"active": False}
    if end in ("exchanger", "deleted"):
        assert await service.active(token)
    if end == "exchanger":
        assert await service.active(await exchanged(service, orders, token, audience="billing"))


@pytest.mark.parametrize("who", ["its client", "an admin", "a client that may revoke"])
async def test_revoking_it_ends_it_alone(
    service: Service, orders: Credentials, billing: Credentials, token: str, who: str
) -> None:
    """Its session goes on, and so do other exchanged tokens. The client of the session may not revoke it."""
    child, other = [await exchanged(service, orders, token, audience=name) for name in ("billing", "mail")]
    _, revoker = await service.client("revoke", audience=("billing",))
    by_app = await service.http.post("/revoke", data={"token": child, "client_id": await _id_of(service, token)})
    assert (by_app.status_code, by_app.json()["error"]) == (403, "unauthorized_client")
    refused = await service.http.post("/revoke", data={"token": child}, auth=billing)
    assert refused.status_code == 403
    auth = {"its client": orders, "an admin": service.admin, "a client that may revoke": revoker}[who]
    for _ in range(2):
        assert (await service.http.post("/revoke", data={"token": child}, auth=auth)).status_code == 200
    assert await service.introspect(child) == {"active": False}
    assert await service.active(other)
    assert await service.active(token)
    events = [stored.entry async for stored in service.deps.store.audit.backwards()]
    assert [event.client_id for event in events if event.event == "token.revoked"] == [orders[0]]


async def test_it_survives_a_refresh(service: Service, orders: Credentials, login: dict[str, Any]) -> None:
    """The session goes on with other tokens, and the exchanged one too."""
    child = await exchanged(service, orders, login["access_token"])
    client_id = await _id_of(service, child)
    fresh = (await service.refresh(login["refresh_token"], client_id=client_id)).json()
    assert await service.active(child)
    assert await exchanged(service, orders, fresh["access_token"]) != child


async def test_twice_and_no_more(service: Service, orders: Credentials, billing: Credentials, token: str) -> None:
    """An exchanged token may be exchanged once. The second one never outlives the first, and names both clients."""
    child = await exchanged(service, orders, token, audience="billing", scope="a orders:read")
    assert (await exchange(service, billing, child, scope="orders:write")).json()["error"] == "invalid_scope"
    assert (await exchange(service, billing, child, audience="orders")).json()["error"] == "invalid_target"
    answer = await exchange(service, billing, child, audience="ledger", scope="a")
    second = answer.json()["access_token"]
    seen = await service.introspect(second)
    assert seen["act"] == {"sub": billing[0], "act": {"sub": orders[0]}}
    assert (seen["client_id"], seen["aud"], seen["scope"]) == (billing[0], "ledger", "a")
    assert seen["cache"]["clients"] == [await _id_of(service, token), orders[0]]
    _, ledger = await service.client("introspect", "exchange", audience=("ledger",))
    third = await exchange(service, ledger, second)
    assert (third.status_code, third.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("end", ["revoked", "client", "its own client", "time"])
async def test_the_second_ends_with_the_first(
    service: Service, orders: Credentials, billing: Credentials, token: str, clock: Clock, end: str
) -> None:
    child = await exchanged(service, orders, token, audience="billing")
    clock.forward(300)
    second = await exchange(service, billing, child, audience="ledger")
    assert second.json()["expires_in"] == 600
    seconds = [second.json()["access_token"], await exchanged(service, billing, child, audience="mail")]
    for _ in range(3):
        assert all([await service.active(one) for one in seconds])
    if end == "revoked":
        await service.http.post("/revoke", data={"token": child}, auth=orders)
    elif end == "time":
        clock.forward(600)
    else:
        await service.http.post(
            "/revoke", data={"client_id": (orders if end == "client" else billing)[0]}, auth=service.admin
        )
    assert [await service.active(one) for one in seconds] == [False, False]
    assert await service.active(child) is (end == "its own client")


async def test_it_opens_no_account(service: Service) -> None:
    """Neither the calls of users nor those of admins, whatever its audience."""
    await service.user(roles=("admin",))
    _, auth = await service.client("introspect", "exchange")
    child = await exchanged(service, auth, (await service.login())["access_token"])
    for method, path in (
        ("GET", "/me"),
        ("GET", "/sessions"),
        ("DELETE", "/sessions"),
        ("POST", "/password"),
        ("POST", "/step-up"),
        ("POST", "/logout"),
        ("GET", "/factors"),
        ("GET", "/admin/users"),
    ):
        answer = await service.http.request(method, path, headers=bearer(child))
        assert (answer.status_code, answer.json()["error"]) == (403, "access_denied"), path
    answer = await service.http.post("/tokens", headers=bearer(child), json={"sub": "x"})
    assert answer.status_code == 401


@pytest.mark.parametrize("way", ["step-up", "password"])
async def test_it_ends_when_the_user_proves_something_again(service: Service, orders: Credentials, way: str) -> None:
    """The session gets new strength and new tokens. An exchanged token that was stolen before must not have it."""
    app, _ = await service.client(public=True, audience=("orders", service.deps.settings.base_url))
    await service.user()
    token = (await service.login(client_id=app.client_id))["access_token"]
    child = await exchanged(service, orders, token)
    if way == "step-up":
        begun = (await service.http.post("/step-up", headers=bearer(token))).json()
        answer = await service.http.post(
            "/login/password", json={"auth_session": begun["auth_session"], "password": PASSWORD}
        )
    else:
        change = {"current_password": PASSWORD, "new_password": "four herons at dawn"}
        answer = await service.http.post("/password", json=change, headers=bearer(token))
    assert answer.status_code == 200, answer.text
    assert await service.introspect(child) == {"active": False}
    assert not await service.active(token)
    assert await service.active(await exchanged(service, orders, answer.json()["access_token"]))


async def test_a_remembered_answer_takes_one_round_trip(
    service: Service, orders: Credentials, billing: Credentials, token: str, commands: Commands
) -> None:
    """An exchanged token costs what a session's token costs: two round trips at first, then one."""
    child = await exchanged(service, orders, token, audience="billing")
    second = await exchanged(service, billing, child, audience="ledger")
    for one in (child, second):
        commands.reset()
        assert (await service.introspect(one))["active"]
        assert commands.seen() == {"mget": 2}
        await service.introspect(one)
        commands.reset()
        assert (await service.introspect(one))["active"]
        assert commands.seen() == {"mget": 1}


async def test_ten_thousand_checks_write_nothing(
    service: Service, orders: Credentials, token: str, valkey: "redis.Redis"
) -> None:
    """Checks of an exchanged token only read, and count as use of its session."""
    child = await exchanged(service, orders, token)
    before = valkey.dump(keys.session(child[4:16]))
    for _ in range(50):
        batch = await service.http.post("/introspect/batch", json={"tokens": [child] * 200}, auth=service.admin)
        assert all(one["active"] for one in batch.json())
    await service.deps.store.sessions.finish()
    assert valkey.dump(keys.session(child[4:16])) == before


async def test_using_it_is_using_its_session(service: Service, orders: Credentials, clock: Clock) -> None:
    app, _ = await service.client(public=True, audience=("orders",), idle_ttl_s=600)
    await service.user()
    token = (await service.login(client_id=app.client_id))["access_token"]
    child = await exchanged(service, orders, token)
    clock.forward(500)
    assert await service.active(child)
    await service.deps.store.sessions.finish()
    clock.forward(399)
    assert await service.active(child)
    assert await service.active(token)


async def test_the_metadata_lists_the_grant(service: Service) -> None:
    metadata = (await service.http.get("/.well-known/oauth-authorization-server")).json()
    assert TOKEN_EXCHANGE in metadata["grant_types_supported"]


async def test_the_store_holds_no_token(
    service: Service, orders: Credentials, token: str, valkey: "redis.Redis"
) -> None:
    """The record holds digests, and expires with its session. There is no other key."""
    before = {*valkey.keys("*")}
    child = await exchanged(service, orders, token, audience="billing")
    assert {*valkey.keys("*")} == before
    raw = valkey.get(keys.session(child[4:16])) or b""
    assert child[16:43].encode() not in raw
    assert valkey.ttl(keys.session(child[4:16])) > 0


async def test_a_leaked_exchanged_token_ends_alone(
    service: Service, orders: Credentials, billing: Credentials, token: str
) -> None:
    """A report ends the token and those that come from it. The session and its other tokens go on."""
    child = await exchanged(service, orders, token, audience="billing")
    grandchild = await exchanged(service, billing, child, audience="ledger")
    other = await exchanged(service, orders, token, audience="mail")
    await leaked.report(service.deps, Caller(), [(child, "https://git.example/a")])
    assert not await service.active(child)
    assert not await service.active(grandchild)
    assert await service.active(token)
    assert await service.active(other)
    await leaked.report(service.deps, Caller(), [(child, None)])  # it has ended already
    trail = (await service.http.get("/admin/audit", auth=service.admin)).json()["items"]
    [event] = [item for item in trail if item["event"] == "token.leaked"]
    assert (event["reason"], event["client_id"]) == ("exchanged", orders[0])
    assert event["details"]["audience"] == ["billing"]
    assert event["details"]["was"] == "active"
    assert event["details"]["roles"] == ["editor"]


async def test_a_leaked_token_takes_its_exchanged_tokens_along(
    service: Service, orders: Credentials, token: str
) -> None:
    """Reported together, the session ends, and one event tells of it."""
    child = await exchanged(service, orders, token, audience="billing")
    await leaked.report(service.deps, Caller(), [(child, None), (token, None)])
    assert not await service.active(child)
    assert not await service.active(token)
    trail = (await service.http.get("/admin/audit", auth=service.admin)).json()["items"]
    assert [item["reason"] for item in trail if item["event"] == "token.leaked"] == ["access"]


async def test_the_leak_of_an_exchanged_token_explains_no_end_of_its_session(
    service: Service, orders: Credentials, token: str
) -> None:
    """When the session is over, `explain` names what ended the session."""
    child = await exchanged(service, orders, token, audience="billing")
    await leaked.report(service.deps, Caller(), [(child, None)])
    assert (await service.http.post("/logout", headers=bearer(token))).status_code == 204
    assert (await explain(service.deps, token)).reason.startswith("ended: logout")


async def test_an_operator_is_told_why(service: Service, orders: Credentials, token: str) -> None:
    """`authsvc token explain` tells of the exchanged token itself, and of the end of its client."""
    child = await exchanged(service, orders, token, audience="billing", scope="a")
    told = await explain(service.deps, child)
    assert told.active
    assert told.session is not None
    assert (told.session["token_use"], told.session["client_id"]) == ("exchanged", orders[0])
    assert (told.session["scope"], told.session["audience"]) == ("a", ("billing",))
    assert told.session["act"] == {"sub": orders[0]}
    await service.http.post("/revoke", data={"client_id": orders[0]}, auth=service.admin)
    assert (await explain(service.deps, child)).reason.startswith("cut off by the client's epoch")
    assert (await explain(service.deps, token)).active
    child = await exchanged(service, orders, token, audience="billing", scope="a")
    await service.http.post("/revoke", data={"token": child}, auth=orders)
    assert (await explain(service.deps, child)).reason == "revoked"


async def test_a_key_is_exchanged_unless_it_is_bound_to_networks(service: Service) -> None:
    """A key speaks for its user. Nobody tells here from where a key is used, so a bound one is inactive."""
    user = await service.user()
    _, auth = await service.client("introspect", "exchange", exchange_audience=("billing",))
    path = f"/admin/users/{user.sub}/keys"
    key, bound = [
        (await service.http.post(path, json={"name": "backup"} | more, auth=service.admin)).json()
        for more in ({}, {"networks": ["192.0.2.0/24"]})
    ]
    child = await exchanged(service, auth, key["key"], audience="billing")
    seen = await service.introspect(child)
    assert (seen["token_use"], seen["sub"], seen["session_id"]) == ("exchanged", user.sub, key["key_id"])
    assert (await exchange(service, auth, bound["key"], audience="billing")).json()["error"] == "invalid_request"
    await service.http.delete(f"{path}/{key['key_id']}", auth=service.admin)
    await service.http.post("/revoke", data={"token": key["key"]}, auth=service.admin)
    assert await service.introspect(child) == {"active": False}
