"""Introspection: the callers, the tokens and the answers (RFC 7662)."""

from typing import Any

import pytest

from authsvc.core import token as tokens
from authsvc.core.session import Inactive
from authsvc.core.token import Kind
from authsvc.flows import users
from authsvc.flows.deps import OPERATOR
from authsvc.flows.introspect import look_up
from tests.conftest import Clock, Service, bearer
from tests.flows.conftest import World
from tests.flows.contents import Commands

INACTIVE = b'{"active":false}'


async def test_what_is_told(service: Service, clock: Clock) -> None:
    """The answer has the members of the RFC, and roles, session, auth_time, amr, acr and version."""
    user = await service.user(roles=("ops", "dev"), claims={"team": "blue"})
    client, _ = await service.client(public=True, audience=("orders",))
    granted = await service.login(client_id=client.client_id, scope="read")
    assert await service.introspect(granted["access_token"]) == {
        "active": True,
        "sub": user.sub,
        "username": "ada",
        "scope": "read",
        "client_id": client.client_id,
        "token_type": "Bearer",
        "iat": clock(),
        "exp": clock() + 900,
        "iss": service.deps.settings.base_url,
        "aud": "orders",
        "roles": ["ops", "dev"],
        "claims": {"team": "blue"},
        "session_id": granted["session_id"],
        "auth_time": clock(),
        "amr": ["pwd"],
        "acr": "aal1",
        "version": 1,
        "recheck_at": clock() + 900,
    }


async def test_auth_time_stays_when_tokens_are_refreshed(service: Service, clock: Clock) -> None:
    """A refresh moves iat and keeps auth_time."""
    await service.user()
    granted, began = await service.login(), clock()
    clock.forward(100)
    fresh = (await service.refresh(granted["refresh_token"])).json()
    told = await service.introspect(fresh["access_token"])
    assert (told["auth_time"], told["iat"], told["exp"]) == (began, began + 100, began + 1000)


async def test_only_access_tokens_are_active(service: Service) -> None:
    """Any other secret of this service is inactive, alone and in a batch, and opens no call of the account."""
    user = await service.user()
    granted = await service.login()
    code = await service.http.post(f"/admin/users/{user.sub}/reset-code", auth=service.admin)
    for secret in (granted["refresh_token"], code.json()["reset_code"], service.admin[1]):
        for hint in (None, "access_token", "refresh_token"):
            form = {"token": secret} | ({} if hint is None else {"token_type_hint": hint})
            answer = await service.http.post("/introspect", data=form, auth=service.admin)
            assert (answer.status_code, answer.json()) == (200, {"active": False}), (secret[:4], hint)
        batch = {"tokens": [secret, granted["access_token"]]}
        answer = await service.http.post("/introspect/batch", json=batch, auth=service.admin)
        assert [one["active"] for one in answer.json()] == [False, True], secret[:4]
        assert (await service.http.get("/me", headers=bearer(secret))).status_code == 401


async def test_a_refresh_token_is_refused_without_reading_its_session(service: Service, commands: Commands) -> None:
    """A living refresh token costs what an invented one costs, and the introspection is no use of its session."""
    await service.user()
    granted = await service.login()
    for token in (granted["refresh_token"], tokens.new(Kind.REFRESH).text):
        commands.reset()
        assert not (await service.introspect(token))["active"]
        assert commands.seen() == {"mget": 1}, "the calling client"
    seen = (await service.deps.store.sessions.get(granted["session_id"])).used_at
    assert seen is None


async def test_inactive_says_nothing_else(service: Service, clock: Clock) -> None:
    """Every inactive answer has the same bytes: unknown, mistyped, expired, spent, revoked, cut off, suspended, other
    audience.
    """
    user = await service.user()
    suspended = await service.user("bea")
    short, _ = await service.client(public=True, access_ttl_s=1)
    other, _ = await service.client(public=True, audience=("mail",))
    _, orders = await service.client("introspect", audience=("orders",))
    expired = await service.login(client_id=short.client_id)
    clock.forward(1)
    revoked, spent, not_mine = (
        await service.login(),
        await service.login(),
        await service.login(client_id=other.client_id),
    )
    barred = await service.login("bea")
    await service.refresh(spent["refresh_token"])
    await service.http.post("/revoke", data={"token": revoked["access_token"]}, auth=service.admin)
    await users.update(service.deps, OPERATOR, suspended.sub, status="suspended")
    live = await service.login()
    cases: list[tuple[str, tuple[str, str]]] = [
        (tokens.new(Kind.ACCESS).text, service.admin),
        (tokens.new(Kind.ACCESS, live["session_id"]).text, service.admin),
        (tokens.new(Kind.RESET, live["session_id"]).text, service.admin),
        (live["access_token"][:-1], service.admin),
        (live["access_token"] + " ", service.admin),
        (expired["access_token"], service.admin),
        (spent["refresh_token"], service.admin),
        (revoked["access_token"], service.admin),
        (barred["access_token"], service.admin),
        (not_mine["access_token"], orders),
        (live["access_token"], orders),
        (live["session_id"], service.admin),
        (user.sub, service.admin),
        (service.admin[1], service.admin),
        ("\x7f\u202e" * 1500, service.admin),
    ]
    answers = []
    for token, auth in cases:
        answer = await service.http.post("/introspect", data={"token": token}, auth=auth)
        headers = [pair for pair in answer.headers.raw if pair[0].lower() not in (b"x-request-id", b"date")]
        answers.append((answer.status_code, headers, answer.content))
    assert answers[0][0] == 200
    assert answers[0][2] == INACTIVE
    for (token, _), answered in zip(cases, answers, strict=True):
        assert answered == answers[0], token


@pytest.mark.parametrize(
    ("audience", "caller", "active"),
    [
        ((), (), True),
        (("orders",), (), True),
        (("orders", "mail"), ("mail", "files"), True),
        (("orders",), ("mail",), False),
        ((), ("mail",), False),
    ],
)
async def test_audience(service: Service, audience: tuple[str, ...], caller: tuple[str, ...], active: bool) -> None:
    """A client with an audience sees only tokens for a member of it (CVE-2024-47077)."""
    await service.user()
    issuer, _ = await service.client(public=True, audience=audience)
    _, auth = await service.client("introspect", audience=caller)
    granted = await service.login(client_id=issuer.client_id)
    assert (await service.introspect(granted["access_token"], auth))["active"] is active


@pytest.mark.parametrize(
    ("audience", "told"),
    [((), None), (("orders",), "orders"), (("a", "b"), ["a", "b"])],
)
async def test_one_audience_is_a_string_and_several_are_a_list(
    service: Service, audience: tuple[str, ...], told: object
) -> None:
    """RFC 7519 section 4.1.3, alone and in a batch."""
    await service.user()
    client, _ = await service.client(public=True, audience=audience)
    token = (await service.login(client_id=client.client_id))["access_token"]
    assert (await service.introspect(token)).get("aud") == told
    batch = await service.http.post("/introspect/batch", json={"tokens": [token]}, auth=service.admin)
    assert batch.json()[0].get("aud") == told


@pytest.mark.parametrize(
    ("granted", "asked", "active"),
    [
        ("read write", "", True),
        ("read write", "write", True),
        ("read write", "write read", True),
        ("read write", "read delete", False),
        ("read write", "rea", False),
        ("read write", "read  write", False),
        ("", "read", False),
        ("", " ", False),
    ],
)
async def test_a_token_has_to_cover_the_scope_that_is_asked_for(
    service: Service, granted: str, asked: str, active: bool
) -> None:
    """With the field `scope` a token is active only if it has every word of it."""
    await service.user()
    client, _ = await service.client(public=True)
    tokens = await service.login(client_id=client.client_id, scope=granted)
    form = {"token": tokens["access_token"], "scope": asked}
    answer = await service.http.post("/introspect", data=form, auth=service.admin)
    assert answer.json()["active"] is active
    if not active:
        assert answer.content == INACTIVE


async def test_who_may_ask(service: Service) -> None:
    """Only a client with the permission may introspect, with the right secret."""
    await service.user("root", roles=("admin",))
    granted = await service.login("root")
    form = {"token": granted["access_token"]}
    assert (await service.http.post("/introspect", data=form)).status_code == 401
    assert (await service.http.post("/introspect", data=form, auth=(service.admin[0], "sec_no"))).status_code == 401
    assert (await service.http.post("/introspect", data=form, auth=("nobody", service.admin[1]))).status_code == 401
    _, auth = await service.client("revoke", "issue", "reset")
    answer = await service.http.post("/introspect", data=form, auth=auth)
    assert (answer.status_code, answer.json()["error"]) == (403, "unauthorized_client")
    public = await service.http.post("/introspect", data=form | {"client_id": "app"})
    assert public.status_code in (401, 403)
    by_user = await service.http.post("/introspect", data=form, headers=bearer(granted["access_token"]))
    assert by_user.status_code == 401


async def test_the_form(service: Service) -> None:
    """The request is a POST with one token in a form (section 2.1)."""
    assert (await service.http.get("/introspect", auth=service.admin)).status_code == 405
    assert (await service.http.post("/introspect", json={"token": "x"}, auth=service.admin)).status_code == 415
    assert (await service.http.post("/introspect", data={}, auth=service.admin)).status_code in (400, 415)
    assert (await service.http.post("/introspect", data={"a": "b"}, auth=service.admin)).status_code == 400
    twice = await service.http.post("/introspect", data={"token": ["a", "b"]}, auth=service.admin)
    assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")


CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"roles": ("ops",)}, {"roles": ["ops"]}),
    ({"roles": ()}, {"roles": []}),
    ({"claims": {"team": "red"}}, {"claims": {"team": "red"}}),
    ({"username": "ada.l"}, {"username": "ada.l"}),
]


@pytest.mark.parametrize(("change", "shows"), CHANGES)
async def test_a_change_shows_in_the_very_next_answer(
    service: Service, change: dict[str, Any], shows: dict[str, Any]
) -> None:
    """Roles, claims and names are read live, and the version rises. No session ends."""
    user = await service.user(roles=("dev",))
    granted = await service.login()
    before = await service.introspect(granted["access_token"])
    await users.update(service.deps, OPERATOR, user.sub, **change)
    after = await service.introspect(granted["access_token"])
    assert after == before | shows | {"version": before["version"] + 1}


async def test_what_is_no_token_costs_no_store_call(world: World, commands: Commands) -> None:
    """Every changed or truncated token is inactive without a round trip."""
    await world.user()
    token = (await world.login()).access_token
    mistyped = [token[:at] + ("x" if token[at] != "x" else "y") + token[at + 1 :] for at in range(len(token))]
    commands.reset()
    for text in (*mistyped, *(token[:cut] for cut in range(len(token))), token + "A", " " + token):
        assert isinstance(await look_up(world.deps, text), Inactive)
    assert commands.seen() == {}
    assert await world.active(token)
    assert commands.seen() == {"mget": 2}, "an active token costs two round trips"


async def test_a_use_is_written_seldom(world: World, clock: Clock, commands: Commands) -> None:
    """Uses are written at most once per twentieth of the idle time, however often the token is looked up.

    In addition, the first use within the grace of a refresh is written once. Later uses are not.
    """
    await world.user()
    grant = await world.login()
    for _ in range(3):
        clock.forward(14 * 86400 // 20)
        grant = await world.refresh(grant.refresh_token)
        commands.reset()
        for _ in range(20):
            assert await world.active(grant.access_token)
        await world.deps.store.sessions.finish()
        assert commands.seen()["eval"] == 1
        grant = await world.refresh(grant.refresh_token)
        clock.forward(world.deps.settings.refresh_grace_s)
        commands.reset()
        assert await world.active(grant.access_token)
        await world.deps.store.sessions.finish()
        assert "eval" not in commands.seen()
    clock.forward(14 * 86400 // 20)
    commands.reset()
    for _ in range(20):
        assert await world.active(grant.refresh_token)
    await world.deps.store.sessions.finish()
    assert commands.seen()["eval"] == 1


async def test_an_introspection_without_an_answer_is_no_use_of_the_token(
    world: World, service: Service, clock: Clock
) -> None:
    """A client that may not see a token does not keep its session from ending idle."""
    await world.user()
    _, stranger = await service.client("introspect", audience=("other",))
    grant = await world.login(cookie=True)
    ends = clock() + 30 * 60
    while clock() < ends:
        clock.forward(25 * 60)
        assert await service.introspect(grant.access_token, stranger) == {"active": False}
        await world.deps.store.sessions.finish()
    assert not await world.active(grant.access_token)
