"""Reporting leaked tokens: what ends, what goes on, and what the audit trail keeps."""

import logging

import pytest
import redis

from authsvc.core import token as tokens
from authsvc.core.event import Entry
from authsvc.core.leak import recognise
from authsvc.core.throttle import PER_LEAK_REPORT
from authsvc.core.token import Kind
from authsvc.errors import InvalidGrant, InvalidSession, StoreUnavailable, TooManyAttempts
from authsvc.flows import leaked, passkeys
from authsvc.flows.deps import OPERATOR, SERVICE, Caller
from authsvc.flows.issue import issue
from authsvc.flows.password import new_reset_code, reset_password
from authsvc.flows.revoke import revoke_user
from authsvc.store import keys
from tests.conftest import Clock
from tests.flows.conftest import HERE, World
from tests.flows.contents import Commands
from tests.flows.test_steps import by_code, enrolled, first_step

URL = "https://git.example/ada/notes/blob/main/.env"
NEW = "seven quiet herons wading"


async def report(world: World, *texts: str | None, url: str | None = URL, caller: Caller = HERE) -> bool:
    return await leaked.report(world.deps, caller, [(text or "", url) for text in texts])


async def told(world: World) -> list[Entry]:
    """The events of leaked tokens."""
    return [entry for entry in await world.events() if entry.event == "token.leaked"]


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
async def test_any_token_of_a_session_ends_it(world: World, which: str) -> None:
    """The access token and the refresh token each end their session, and no other session of the user."""
    user = await world.user(roles=("editor",))
    grant, other = await world.login(scope="read write"), await world.login()
    assert await report(world, getattr(grant, which))
    assert not await world.alive(grant)
    assert await world.alive(other)
    assert await world.deps.store.sessions.count(user.sub, world.deps.clock()) == 1
    [entry] = await told(world)
    assert (entry.sub, entry.session_id, entry.client_id) == (user.sub, grant.session_id, "app")
    assert entry.reason == which.removesuffix("_token")
    assert entry.details == {
        "token": f"{'tok' if which == 'access_token' else 'ref'}_{grant.session_id}",
        "url": URL,
        "was": "active",
        "scope": "read write",
        "roles": ["editor"],
    }


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
async def test_a_spent_token_ends_its_session(world: World, clock: Clock, which: str) -> None:
    """A token that a refresh has replaced ends the session, as reuse does."""
    await world.user()
    first = await world.login()
    clock.forward(100)
    grant = await world.refresh(first.refresh_token)
    clock.forward(100)
    assert await report(world, getattr(first, which))
    assert not await world.alive(grant)
    [entry] = await told(world)
    assert (entry.details or {})["was"] == "spent"


async def test_the_token_of_a_client_ends(world: World) -> None:
    """A session that no list of a user has ends too, and its audience is recorded."""
    client = await world.client("issue", audience=("https://orders.example",))
    grant = await issue(world.deps, HERE, client, sub="elsewhere|1")
    await report(world, grant.access_token)
    assert not await world.alive(grant)
    [entry] = await told(world)
    assert (entry.details or {})["audience"] == ["https://orders.example"]


async def test_a_forged_token_ends_nothing(world: World) -> None:
    """The handle of a session is public, so it is not enough to end the session. Nothing is recorded."""
    await world.user()
    grant = await world.login()
    forged = [tokens.new(kind, grant.session_id).text for kind in Kind]
    assert await report(world, *forged)
    assert await world.alive(grant)
    assert await told(world) == []


async def test_garbage_is_not_looked_up(world: World, commands: Commands) -> None:
    """A text without the form of a token costs no command, and neither does a client secret."""
    await world.user()
    grant = await world.login()
    last = grant.access_token[-1]
    mistyped = grant.access_token[:-1] + ("0" if last != "0" else "1")
    commands.reset()
    assert not await report(world, mistyped, "tok_", "", "x" * 49, tokens.new(Kind.SECRET).text, grant.session_id)
    assert commands.seen() == {}
    assert await world.alive(grant)


async def test_a_login_in_progress_ends(world: World, clock: Clock) -> None:
    """Its token opens no further step; the user may begin again."""
    phone = await enrolled(world, clock)
    auth_session, other = await first_step(world), await first_step(world)
    await report(world, auth_session)
    with pytest.raises(InvalidSession):
        await by_code(world, auth_session, phone.code())
    await by_code(world, other, phone.code())
    [entry] = await told(world)
    assert (entry.sub, entry.reason, entry.session_id) == (phone.user.sub, "login", None)


async def test_a_login_by_passkey_alone_ends(world: World, valkey: "redis.Redis") -> None:
    """It has no record but its challenge."""
    begun = await passkeys.begin_login(world.deps, HERE)
    token = tokens.parse(begun.auth_session)
    assert token is not None
    await report(world, tokens.new(Kind.LOGIN, token.handle).text)
    assert valkey.exists(keys.challenge(token.handle))
    await report(world, begun.auth_session)
    assert not valkey.exists(keys.challenge(token.handle))


async def test_a_reset_code_ends(world: World) -> None:
    """It sets no password any more. A code that another one has replaced ends nothing."""
    user = await world.user()
    first, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
    code, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
    await report(world, first)
    assert await told(world) == []
    await report(world, code)
    with pytest.raises(InvalidGrant):
        await reset_password(world.deps, HERE, code, NEW)
    [entry] = await told(world)
    assert (entry.sub, entry.reason) == (user.sub, "reset")


async def test_the_trust_of_a_device_ends(world: World, clock: Clock) -> None:
    """Its token replaces no second factor any more. Another device of the user is trusted on."""
    phone = await enrolled(world, clock)
    devices = []
    for step in range(3):
        done = await by_code(world, await first_step(world), phone.code(), trust_device=True)
        assert done.device_token is not None
        devices.append(done.device_token)
        clock.forward(60 + step)
    await report(world, *devices[:2])  # of one record, so that one change forestalls the other
    for device in devices[:2]:
        await first_step(world, device_token=device)
    assert await world.alive(await world.login(device_token=devices[2]))
    assert {(entry.sub, entry.reason) for entry in await told(world)} == {(phone.user.sub, "device")}
    assert len(await told(world)) == 2


async def test_one_record_is_one_event(world: World, clock: Clock) -> None:
    """A session has any number of spent tokens. All that are reported together make one event."""
    await world.user()
    grant = await world.login()
    texts = [grant.access_token]
    for _ in range(5):
        clock.forward(100)
        texts.append(grant.refresh_token or "")
        grant = await world.refresh(grant.refresh_token)
    await report(world, *texts, *texts)
    [entry] = await told(world)
    assert entry.reason == "refresh"
    await report(world, *texts)
    assert len(await told(world)) == 1, "what has ended is not reported again"


async def test_a_dead_session_is_removed(world: World, valkey: "redis.Redis") -> None:
    """A genuine token of a session that a cut-off has ended is recorded with the reason."""
    user = await world.user()
    grant = await world.login()
    client = await world.client("issue")
    issued = await issue(world.deps, HERE, client, sub=user.sub)
    await world.deps.store.users.change(user.sub, lambda held: held.cut_off(world.deps.clock()))
    await report(world, grant.access_token, issued.access_token)
    assert not valkey.exists(keys.session(grant.session_id), keys.session(issued.session_id))
    assert {(entry.details or {})["was"] for entry in await told(world)} == {"cut off by the user's epoch"}


async def test_many_of_all_kinds_at_once(world: World, clock: Clock) -> None:
    """Live, dead, forged and malformed texts in one report: each is treated by itself."""
    phone = await enrolled(world, clock)
    step = await first_step(world)
    await world.user("bob")
    live = [await world.login("bob") for _ in range(20)]
    code, _ = await new_reset_code(world.deps, OPERATOR, (await world.user("eve")).sub)
    dead = [tokens.new(kind).text for kind in Kind for _ in range(10)]
    assert await report(world, *dead, "garbage", step, code, *(grant.access_token for grant in live[:15]))
    assert [await world.alive(grant) for grant in live] == [False] * 15 + [True] * 5
    assert len(await told(world)) == 17
    assert phone.user.sub in {entry.sub for entry in await told(world)}


async def test_live_and_dead_tokens_ask_the_same(world: World, commands: Commands) -> None:
    """Reports of live and of dead tokens make the same reads, and as many changes that are waited for."""
    await world.user()
    live = [await world.login() for _ in range(30)]

    async def asked() -> dict[str, int]:
        commands.reset()
        await report(world, *(grant.access_token for grant in live), *(grant.refresh_token for grant in live))
        return {name: count for name, count in commands.seen().items() if name in ("mget", "eval", "get")}

    first = await asked()
    assert len(await told(world)) == 30
    assert await asked() == first, "now they are dead"
    # Two reads; a change for each session, and two for the count of the address.
    assert (first["mget"], first["eval"]) == (2, 30 + 2)


async def test_a_report_is_limited_by_its_address(world: World) -> None:
    """Sixty reports in five minutes from one address; garbage does not count."""
    token = tokens.new(Kind.ACCESS).text
    for _ in range(PER_LEAK_REPORT.free):
        await report(world, token)
        await report(world, "garbage")
    with pytest.raises(TooManyAttempts):
        await report(world, token)
    await report(world, "garbage")
    assert await report(world, token, caller=Caller(ip="192.0.2.77"))
    assert await leaked.report(world.deps, HERE, [(token, None)], limited=False)


@pytest.mark.slow
async def test_a_flood_of_logins_in_progress_is_not_kept(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Anybody can begin a login by passkey, so the trail keeps a bounded number of their reports. The log has all."""
    caplog.set_level(logging.INFO, "authsvc.audit")
    for n in range(11):
        caller = Caller(ip=f"192.0.2.{n}")
        begun = [await passkeys.begin_login(world.deps, caller) for _ in range(100)]
        await report(world, *(one.auth_session for one in begun), caller=caller)
    assert len(await told(world)) == 1000
    assert caplog.messages.count("token.leaked") == 1100


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://git.example/a/b", "https://git.example/a/b"),
        ("https://ada:secret@git.example/a", "https://git.example/a"),
        (None, None),
        ("javascript:alert(1)", None),
        ("https://git.example/\x1b]8;;https://evil.example\x07", None),
        ("https://git.example/a b", None),
    ],
)
async def test_the_place_is_kept_without_secrets(world: World, url: str | None, kept: str | None) -> None:
    """Of GitHub any text may come: what is no plain URL is left out, and so are credentials."""
    await world.user()
    grant = await world.login()
    await report(world, grant.access_token, url=url)
    [entry] = await told(world)
    assert (entry.details or {}).get("url") == kept


async def test_no_token_in_the_place(world: World) -> None:
    """A URL with a token in it is kept without the token's secret part, also if nobody reported that token."""
    await world.user()
    grant, other = await world.login(), await world.login()
    url = f"https://git.example/?a={grant.access_token}&b={other.refresh_token}"
    await report(world, grant.access_token, url=url)
    [entry] = await told(world)
    assert (entry.details or {})["url"] == f"https://git.example/?a=tok_{grant.session_id}…&b=ref_{other.session_id}…"


async def test_without_a_service_record_nothing_is_answered(world: World, valkey: "redis.Redis") -> None:
    """A store that was emptied says nothing about a token."""
    await world.user()
    grant = await world.login()
    valkey.delete("service")
    with pytest.raises(StoreUnavailable):
        await report(world, grant.access_token)
    assert valkey.exists(keys.session(grant.session_id))


async def test_the_number_of_keys_returns_to_the_baseline(world: World, clock: Clock, valkey: "redis.Redis") -> None:
    """Reports leave nothing but the trail and the count of the address."""
    phone = await enrolled(world, clock)
    await report(world, tokens.new(Kind.ACCESS).text)
    before = set(valkey.scan_iter(count=1000))
    clock.forward(60)
    done = await by_code(world, await first_step(world), phone.code(), trust_device=True)
    step = await first_step(world)
    code, _ = await new_reset_code(world.deps, SERVICE, phone.user.sub)
    assert len(set(valkey.scan_iter(count=1000)) - before) >= 4
    await report(world, done.grant.access_token, done.device_token, step, code)
    assert not {key for key in set(valkey.scan_iter(count=1000)) - before if not key.startswith(b"throttle:")}


def test_tokens_are_gathered_by_their_record() -> None:
    """The same handle under two kinds of record is two records, and a repeated token is one."""
    access = tokens.new(Kind.ACCESS)
    refresh, code = tokens.new(Kind.REFRESH, access.handle), tokens.new(Kind.RESET, access.handle)
    found = recognise([(one.text, None) for one in (access, refresh, access, code)])
    assert [(one.named, one.tokens) for one in found] == [("session", (access, refresh)), ("code", (code,))]


async def test_the_user_ends_what_is_left(world: World) -> None:
    """A report ends one session. Ending everything is the user's and the admin's."""
    user = await world.user()
    grant, other = await world.login(), await world.login()
    await report(world, grant.access_token)
    assert await world.alive(other)
    await revoke_user(world.deps, OPERATOR, user.sub)
    assert not await world.alive(other)
