"""The audit trail: one event for each act, kept as long as needed."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import redis

from authsvc.cli.trail import view
from authsvc.core import token as tokens
from authsvc.core.client import Client
from authsvc.core.event import Entry, Event
from authsvc.core.event_limit import HOUR_S, MOST
from authsvc.core.session import Active
from authsvc.core.token import Kind
from authsvc.core.user import User
from authsvc.errors import AuthError
from authsvc.flows import clients, issue, password, revoke, sessions, users
from authsvc.flows.deps import Caller, Deps
from authsvc.flows.explain import explain
from authsvc.flows.grants import Grant
from authsvc.flows.introspect import look_up
from authsvc.flows.left_out import write_left_out
from authsvc.settings import Settings
from tests.conftest import CHEAP, PASSWORD, Clock, Service
from tests.flows.conftest import HERE, World
from tests.selection import slow

ADMIN = Caller(actor="client:admin", ip="192.0.2.9", user_agent="curl", request_id="r-7")
NEW = "seven quiet herons wading"


@pytest.fixture
def settings() -> Settings:
    # The store counts the grace in real seconds, and many repeats take some on a busy machine.
    return Settings(**CHEAP | {"refresh_grace_s": 300})


class Stage(World):
    """A user with two sessions, and a client, on which the acts work."""

    ada: User
    here: Grant
    other: Grant


@pytest.fixture
async def stage(world: World) -> Stage:
    found = Stage(world.deps, world.app)
    found.ada = await world.user()
    found.here, found.other = await world.login(), await world.login()
    return found


async def login_wrong(s: Stage) -> None:
    await s.login(password="no")


async def repeat(s: Stage) -> None:
    await s.refresh(s.here.refresh_token)
    await s.refresh(s.here.refresh_token)


async def reuse(s: Stage) -> None:
    second = await s.refresh(s.here.refresh_token)
    await s.refresh(second.refresh_token)
    await s.refresh(s.here.refresh_token)


async def reset(s: Stage) -> None:
    code, _ = await password.new_reset_code(s.deps, ADMIN, s.ada.sub)
    await password.reset_password(s.deps, HERE, code, NEW)


async def change(s: Stage) -> None:
    await password.change_password(s.deps, HERE, await s.me(s.here), PASSWORD, NEW)


async def issued(s: Stage) -> None:
    issuer = await s.client("issue")
    await issue.issue(s.deps, ADMIN, issuer, sub="far|1")


async def bad_secret(s: Stage) -> None:
    await clients.authenticate(s.deps, HERE, (await s.client()).client_id, "sec_x")


async def rotated(s: Stage) -> None:
    await clients.rotate_secret(s.deps, ADMIN, (await s.client()).client_id)


async def deleted(s: Stage) -> None:
    await clients.delete(s.deps, ADMIN, (await s.client()).client_id)


async def reinstated(s: Stage) -> None:
    await users.update(s.deps, ADMIN, s.ada.sub, status="suspended")
    await users.update(s.deps, ADMIN, s.ada.sub, status="active")


async def ended_by_owner(s: Stage) -> None:
    await sessions.end_one(s.deps, HERE, s.ada.sub, s.other.session_id)


Act = Callable[[Stage], Awaitable[Any]]

# Each act, and its events with the members that they have besides actor and address.
NOBODY: set[str] = set()
ACTS: list[tuple[str, Act, list[tuple[str, set[str]]]]] = [
    ("login", lambda s: s.login(), [("login.succeeded", {"sub", "session_id", "client_id"})]),
    ("wrong password", login_wrong, [("login.failed", {"sub"})]),
    ("unknown name", lambda s: s.login("bea"), [("login.failed", NOBODY)]),
    ("refresh", lambda s: s.refresh(s.here.refresh_token), [("token.refreshed", {"sub", "session_id", "client_id"})]),
    ("repeat", repeat, [("token.refreshed", {"sub"}), ("token.repeated", {"sub", "session_id", "client_id", "ip"})]),
    (
        "reuse",
        reuse,
        [("token.refreshed", {"sub"})] * 2 + [("token.reused", {"sub", "session_id", "client_id", "reason"})],
    ),
    ("logout", lambda s: _logout(s), [("session.ended", {"sub", "session_id", "reason"})]),
    ("end one", ended_by_owner, [("session.ended", {"sub", "session_id", "reason"})]),
    ("end others", lambda s: _others(s), [("user.cut_off", {"sub", "reason"})]),
    ("end all", lambda s: _all(s), [("user.cut_off", {"sub", "reason"})]),
    ("change password", change, [("password.changed", {"sub", "session_id"})]),
    ("reset", reset, [("password.reset_code", {"sub"}), ("password.reset", {"sub"})]),
    ("bad code", lambda s: _bad_code(s), [("password.reset", NOBODY)]),
    ("revoke token", lambda s: _revoke(s), [("session.ended", {"sub", "session_id", "client_id", "reason"})]),
    ("revoke unknown", lambda s: revoke.revoke_token(s.deps, ADMIN, None, "tok_x"), []),
    (
        "revoke session",
        lambda s: revoke.revoke_session(s.deps, ADMIN, s.here.session_id),
        [("session.ended", {"sub", "session_id"})],
    ),
    ("revoke user", lambda s: revoke.revoke_user(s.deps, ADMIN, s.ada.sub), [("user.cut_off", {"sub"})]),
    ("revoke client", lambda s: revoke.revoke_client(s.deps, ADMIN, "app"), [("client.cut_off", {"client_id"})]),
    ("revoke all", lambda s: revoke.revoke_all(s.deps, ADMIN), [("service.cut_off", NOBODY)]),
    ("issue", issued, [("client.created", {"client_id"}), ("user.created", {"sub"}), ("token.issued", {"sub"})]),
    ("new user", lambda s: s.user("bea"), [("user.created", {"sub"})]),
    (
        "roles",
        lambda s: users.update(s.deps, ADMIN, s.ada.sub, roles=("ops",)),
        [("user.changed", {"sub", "details"})],
    ),
    ("rename", lambda s: users.update(s.deps, ADMIN, s.ada.sub, username="bea"), [("user.changed", {"sub"})]),
    ("suspend and reinstate", reinstated, [("user.suspended", {"sub"}), ("user.reinstated", {"sub"})]),
    ("delete user", lambda s: users.delete(s.deps, ADMIN, s.ada.sub), [("user.deleted", {"sub"})]),
    ("new client", lambda s: s.client(), [("client.created", {"client_id"})]),
    ("bad secret", bad_secret, [("client.created", NOBODY), ("client.refused", {"client_id"})]),
    ("rotate", rotated, [("client.created", NOBODY), ("client.secret_rotated", {"client_id"})]),
    ("delete client", deleted, [("client.created", NOBODY), ("client.deleted", {"client_id"})]),
]

FAILURES = {"login.failed", "token.reused", "client.refused"}


async def _logout(s: Stage) -> None:
    await sessions.logout(s.deps, HERE, await s.me(s.here))


async def _others(s: Stage) -> None:
    await sessions.end_others(s.deps, HERE, await s.me(s.here))


async def _all(s: Stage) -> None:
    await sessions.end_all(s.deps, HERE, await s.me(s.here))


async def _bad_code(s: Stage) -> None:
    await password.reset_password(s.deps, HERE, tokens.new(Kind.RESET).text, NEW)


async def _revoke(s: Stage) -> None:
    await revoke.revoke_token(s.deps, ADMIN, None, s.here.access_token)


@pytest.mark.parametrize(("what", "act", "expected"), ACTS, ids=[row[0] for row in ACTS])
async def test_each_thing_writes_its_event_once(
    stage: Stage,
    caplog: pytest.LogCaptureFixture,
    what: str,
    act: Act,
    expected: list[tuple[str, set[str]]],
) -> None:
    """Each act writes exactly its events, to the stream and to the log.

    Refreshes are in the log only, or they would push everything else out of the bounded stream.
    """
    before = len(await stage.events())
    with caplog.at_level(logging.INFO, "authsvc.audit"):
        try:
            await act(stage)
        except AuthError:
            assert any(name in FAILURES or name == "password.reset" for name, _ in expected)
    logged = [record.__dict__["fields"] for record in caplog.records if record.name == "authsvc.audit"]
    events = [Entry(**json.loads(json.dumps(fields))) for fields in logged]
    assert [event.event for event in events] == [name for name, _ in expected]
    assert (await stage.events())[before:] == [event for event in events if event.event != "token.refreshed"]
    for event, (name, fields) in zip(events, expected, strict=True):
        for given in fields:
            assert getattr(event, given) is not None, (name, given)
        failed = name in FAILURES or what == "bad code"
        assert event.outcome == ("failure" if failed else "success")
        assert event.sub in (None, stage.ada.sub, "far|1") or what in ("new user",)
        assert event.actor in ("anonymous", "operator", "client:admin")


async def test_reading_writes_nothing(stage: Stage) -> None:
    """Introspecting, listing and a refused token leave no event."""
    before = len(await stage.events())
    await stage.me(stage.other)
    await sessions.list_active(stage.deps, stage.ada.sub)
    assert not await stage.active("tok_x")
    assert len(await stage.events()) == before


async def test_who_what_and_from_where(service: Service, clock: Clock) -> None:
    """Over HTTP an event names the actor, the address, the user agent and the request id of the answer."""
    user = await service.user()
    headers = {"User-Agent": "curl/8 " + "x" * 300, "X-Request-ID": "abc-123"}
    answer = await service.http.post(f"/admin/users/{user.sub}/reset-code", auth=service.admin, headers=headers)
    assert answer.headers["x-request-id"] == "abc-123"
    trail = (await service.http.get("/admin/audit?limit=1", auth=service.admin)).json()
    (item,) = trail["items"]
    code = answer.json()["reset_code"]
    assert item.pop("id")
    assert item == {
        "at": clock(),
        "event": "password.reset_code",
        "actor": f"client:{service.admin[0]}",
        "actor_name": "client:admin",
        "user": "ada",
        "outcome": "success",
        "sub": user.sub,
        "ip": "192.0.2.1",
        "user_agent": ("curl/8 " + "x" * 300)[:200],
        "request_id": "abc-123",
        "details": {"code": code[4:16]},
    }


async def test_pages(service: Service) -> None:
    """Pages show each entry once, newest first, until the oldest."""
    for n in range(7):
        await service.user(f"user{n}")
    whole = (await service.http.get("/admin/audit", auth=service.admin)).json()
    assert whole["next"] is None
    seen: list[str] = []
    query = {"limit": "3"}
    while True:
        page = (await service.http.get("/admin/audit", params=query, auth=service.admin)).json()
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert seen == [item["id"] for item in whole["items"]]
    assert len(seen) >= 8


NEWER = {
    "event": "factor.added",
    "actor": "user:ada",
    "outcome": "pending",
    "factor": {"kind": "totp"},
    "details": {"epoch": "many", "end": "soon", "labels": ["a"]},
}


@pytest.mark.parametrize("document", [NEWER, NEWER | {"details": "text"}], ids=["unknown members", "unknown types"])
async def test_an_entry_of_a_newer_version_is_shown(
    service: Service, valkey: "redis.Redis", document: dict[str, Any]
) -> None:
    """Every view of the trail shows an entry whose event, outcome or members this version does not know."""
    await service.user()
    grant = await service.login()
    newer = document | {"session_id": grant["session_id"]}
    valkey.xadd("audit", {"at": int(service.deps.clock() * 1000), "e": json.dumps(newer)})
    answer = await service.http.get("/admin/audit", auth=service.admin)
    assert answer.status_code == 200
    shown = answer.json()["items"]
    assert [item["event"] for item in shown[1:3]] == ["login.succeeded", "user.created"]
    entries = [stored async for stored in service.deps.store.audit.backwards()]
    assert [view(stored)["id"] for stored in entries] == [item["id"] for item in shown]
    if document is NEWER:
        known = ("event", "actor", "outcome", "details")
        assert {name: shown[0][name] for name in known} == {name: NEWER[name] for name in known}
        assert (await explain(service.deps, grant["access_token"])).trail[-1].entry.event == "factor.added"
        await revoke.revoke_session(service.deps, ADMIN, grant["session_id"])
        assert (await explain(service.deps, grant["access_token"])).reason == "ended: revoked, by client:admin"
    else:
        assert shown[0]["event"] == "unreadable"


class TestRetention:
    """How long events are kept."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP | {"audit_retention_s": 1000})

    async def test_the_stream_has_a_ttl(self, world: World, valkey: "redis.Redis") -> None:
        """The stream has a TTL from its first event on, so an unused service keeps no addresses."""
        await world.user()
        assert 990 < valkey.ttl("audit") <= 1000

    async def test_it_is_trimmed_by_age(self, world: World, valkey: "redis.Redis", clock: Clock) -> None:
        """New events remove the ones older than the retention, in whole blocks of the stream."""
        for _ in range(350):
            valkey.xadd(
                "audit", {"at": int((clock() - 2000) * 1000), "e": "{}"}, id=f"{int((clock() - 2000) * 1000)}-*"
            )
        await world.user()
        assert valkey.xlen("audit") <= 100
        assert "user.created" in repr(valkey.xrevrange("audit", count=1))


async def end_the_others(world: World, grant: Grant) -> None:
    active = await look_up(world.deps, grant.access_token)
    assert isinstance(active, Active)
    await sessions.end_others(world.deps, Caller(actor=f"user:{active.user.sub}"), active)


async def wrong_password(world: World, grant: Grant) -> None:
    with suppress(AuthError):
        await world.login(password="no")


async def refresh_and_repeat(world: World, grant: Grant) -> None:
    for _ in range(4):
        await world.refresh(grant.refresh_token)


async def invent_a_reset_code(world: World, grant: Grant) -> None:
    with suppress(AuthError):
        await password.reset_password(world.deps, HERE, tokens.new(Kind.RESET).text, NEW)


async def issue_a_token(world: World, grant: Grant) -> None:
    client = Client(client_id="idp", name="idp", permissions=("issue",), epoch=0, created_at=0)
    await issue.issue(world.deps, Caller(actor="client:idp"), client, sub="elsewhere")


@pytest.mark.parametrize(
    "flood",
    [end_the_others, slow(wrong_password), slow(refresh_and_repeat), slow(invent_a_reset_code), slow(issue_a_token)],
)
async def test_no_flood_washes_out_the_trail(
    world: World, clock: Clock, flood: Callable[[World, Grant], Awaitable[None]]
) -> None:
    """What anybody can cause without end is in the trail up to a bound, and the trail says how much it left out."""
    await world.deps.store.clients.create(
        "idp", Client(client_id="idp", name="idp", permissions=("issue",), epoch=0, created_at=0)
    )
    ada = await world.user()
    await users.update(world.deps, ADMIN, ada.sub, roles=("editor",))
    grant = await world.login()
    for _ in range(MOST + 20):
        await flood(world, grant)
    kept = [stored.entry async for stored in world.deps.store.audit.backwards()]
    assert len(kept) <= 2 * MOST + 10
    assert any(entry.event == Event.USER_CHANGED and entry.actor == ADMIN.actor for entry in kept)
    clock.forward(HOUR_S)
    await write_left_out(world.deps, clock())
    newest = [stored.entry async for stored in world.deps.store.audit.backwards()]
    told = [entry for entry in newest if entry.event == Event.AUDIT_LEFT_OUT]
    assert bool(told) is (flood in (end_the_others, issue_a_token))
    for entry in told:
        assert entry.actor == "service"
        assert entry.details is not None
        assert entry.details["events"] > 0


async def test_what_ended_something_is_kept_in_a_flood(world: World) -> None:
    """A cut-off that ended a session is in the trail, also after many that ended nothing."""
    await world.user()
    grant = await world.login()
    for _ in range(MOST + 20):
        await end_the_others(world, grant)
    await world.deps.store.sessions.finish()
    await world.login()
    before = len([stored async for stored in world.deps.store.audit.backwards()])
    await end_the_others(world, grant)
    (newest, *_) = [stored.entry async for stored in world.deps.store.audit.backwards()]
    assert newest.event == Event.USER_CUT_OFF
    assert len([stored async for stored in world.deps.store.audit.backwards()]) == before + 1


async def test_repeats_of_many_refreshes_are_bounded(world: World) -> None:
    """Refreshing costs nothing, so a holder of a session who repeats each refresh causes no more than the bound."""
    await world.user()
    grant = await world.login()
    caller = Caller(actor="client:app", ip="192.0.2.1")
    for _ in range(MOST // 2):
        spent, grant = grant, await world.refresh(grant.refresh_token, caller=caller)
        for _ in range(4):
            await world.refresh(spent.refresh_token, caller=caller)
    assert await kept(world, Event.TOKEN_REPEATED) == MOST


async def kept(world: World, event: Event) -> int:
    return [entry.event for entry in await world.events()].count(event)


@pytest.mark.parametrize("act", [sessions.end_others, sessions.end_all])
async def test_parallel_calls_end_something_once(
    world: World, act: Callable[[Deps, Caller, Active], Awaitable[None]]
) -> None:
    """Of many calls at once, the trail keeps the one that ended sessions beside the bound, and no more."""
    ada = await world.user()
    grant, _ = await world.login(), await world.login()
    me = await world.me(grant)
    caller = Caller(actor=f"user:{ada.sub}")
    for _ in range(MOST):
        world.deps.store.audit.limit.admits(
            Entry(event=Event.USER_CUT_OFF, actor=caller.actor, sub=ada.sub), world.deps.clock()
        )
    await asyncio.gather(*(act(world.deps, caller, me) for _ in range(25)))
    assert await kept(world, Event.USER_CUT_OFF) == 1


async def test_an_expired_session_is_no_session_that_was_ended(
    world: World, valkey: "redis.Redis", clock: Clock
) -> None:
    """The list of a user still names a session that has expired. Ending the others keeps to the bound all the same."""
    await world.user()
    short = await world.client(public=True, session_ttl_s=60, idle_ttl_s=60)
    grant, old = await world.login(), await world.login(client=short)
    clock.forward(61)
    valkey.delete(f"session:{old.session_id}")
    for _ in range(MOST + 20):
        await end_the_others(world, grant)
    assert await kept(world, Event.USER_CUT_OFF) == MOST
