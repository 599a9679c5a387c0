"""Telling an operator why a token is inactive."""

import json
import tracemalloc
from typing import Any

import pytest
import redis

from authsvc.core import token as tokens
from authsvc.core.event import Event
from authsvc.core.token import Kind
from authsvc.errors import InvalidRequest
from authsvc.flows import clients, leaked, revoke, sessions, users
from authsvc.flows.deps import OPERATOR, Caller
from authsvc.flows.explain import _ENDINGS, explain
from authsvc.flows.grants import Grant
from authsvc.flows.password import change_password, new_reset_code
from authsvc.store.audit import StoredEntry
from tests.conftest import PASSWORD, Clock
from tests.flows.conftest import HERE, World

ROOT = Caller("user:root")
NEW = "seven quiet herons wading"


async def why(world: World, presented: str | None) -> str:
    await world.deps.store.sessions.finish()
    explained = await explain(world.deps, presented or "")
    if tokens.parse(presented or ""):
        assert explained.active is await world.active(presented)
    return explained.reason


@pytest.fixture
async def grant(world: World) -> Grant:
    await world.user()
    return await world.login()


async def test_an_active_one(world: World, grant: Grant) -> None:
    """Either token and the id of the session give the same explanation, with the session and its trail."""
    for presented in (grant.access_token, grant.refresh_token, grant.session_id):
        assert await why(world, presented) == "active"
    explained = await explain(world.deps, grant.access_token)
    assert explained.session_id == grant.session_id
    assert explained.session
    assert explained.session["client_id"] == "app"
    assert [stored.entry.event for stored in explained.trail] == ["login.succeeded"]
    assert grant.access_token not in repr(explained)


async def test_expired(world: World, clock: Clock) -> None:
    """The access token, the idle deadline and the absolute deadline give three different reasons."""
    await world.user()
    client = await world.client(public=True, access_ttl_s=60, idle_ttl_s=600, session_ttl_s=1000)
    grant = await world.login(client=client)
    clock.forward(60)
    assert await why(world, grant.access_token) == "expired"
    assert await why(world, grant.refresh_token) == "active"
    clock.forward(600)
    assert await why(world, grant.refresh_token) == "expired idle"
    assert await why(world, grant.session_id) == "expired idle"
    clock.forward(340)
    assert await why(world, grant.session_id) == "expired absolute"
    await world.deps.store.sessions.delete(grant.session_id)  # as the store does by itself then
    assert await why(world, grant.refresh_token) == "expired absolute"


async def test_leaked(world: World, clock: Clock) -> None:
    """The report of a leaked token says what the token was, what it could do, and when and where it was found."""
    await world.user(roles=("editor",))
    grant = await world.login(scope="read write")
    url = "https://git.example/ada/notes/blob/main/.env"
    clock.forward(100)
    await leaked.report(world.deps, HERE, [(grant.access_token, url)])
    for presented in (grant.access_token, grant.refresh_token, grant.session_id):
        assert await why(world, presented) == "ended: reported as leaked, by anonymous"
    explained = await explain(world.deps, grant.access_token)
    assert explained.leaked == {
        "leaked_at": clock(),
        "kind": "access",
        "token": f"tok_{grant.session_id}",
        "url": url,
        "was": "active",
        "scope": "read write",
        "roles": ["editor"],
    }
    assert [stored.entry.event for stored in explained.trail] == ["login.succeeded", "token.leaked"]
    assert (await explain(world.deps, (await world.login()).access_token)).leaked is None


async def test_a_leaked_token_of_no_session(world: World) -> None:
    """Of a reset code nothing is known but its report. Without a report, the explanation says where it belongs."""
    user = await world.user()
    code, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
    with pytest.raises(InvalidRequest, match="belong to a session"):
        await explain(world.deps, code)
    await leaked.report(world.deps, Caller("github"), [(code, None)])
    explained = await explain(world.deps, code)
    assert (explained.active, explained.reason) == (False, "ended: reported as leaked, by github")
    assert explained.leaked
    assert explained.leaked["kind"] == "reset"
    assert [stored.entry.sub for stored in explained.trail] == [user.sub]
    assert code[16:] not in repr(explained)


async def test_spent_and_forged(world: World, grant: Grant, clock: Clock) -> None:
    """Rotated tokens, invented tokens and reuse give three different reasons."""
    second = await world.refresh(grant.refresh_token)
    assert await why(world, grant.refresh_token) == "spent"
    clock.forward(10)
    assert await why(world, grant.access_token) == "spent"
    assert await why(world, tokens.new(Kind.ACCESS, grant.session_id).text) == "secret never issued"
    with pytest.raises(Exception, match="not valid"):
        await world.refresh(grant.refresh_token)
    assert "a spent refresh token was presented" in await why(world, second.access_token)


async def test_unknown(world: World) -> None:
    """A session without a record and without entries in the trail is unknown."""
    assert await why(world, tokens.new(Kind.ACCESS).text) == "unknown"
    assert await why(world, tokens.new_handle()) == "unknown"


async def test_revoked_by_whom(world: World, grant: Grant) -> None:
    """The reason names the event and its actor."""
    other = await world.login()
    await revoke.revoke_token(world.deps, ROOT, None, grant.access_token)
    assert await why(world, grant.access_token) == "ended: revoked, by user:root"
    await sessions.logout(world.deps, Caller("user:ada"), await world.me(other))
    assert await why(world, other.access_token) == "ended: logout, by user:ada"


async def test_cut_off_by_which_epoch(world: World, clock: Clock) -> None:
    """The reason names whose epoch cut the session off, and who raised it."""
    await world.user()
    client = await world.client(public=True)
    through, grant = await world.login(client=client), await world.login()
    clock.forward(1)
    await revoke.revoke_client(world.deps, ROOT, client.client_id)
    by_client = "cut off by the client's epoch, by user:root (every session of the client was ended)"
    assert await why(world, through.access_token) == by_client
    assert await why(world, grant.access_token) == "active"
    await revoke.revoke_all(world.deps, ROOT)
    by_service = "cut off by the service's epoch, by user:root (every session of everybody was ended)"
    assert await why(world, grant.access_token) == by_service


@pytest.mark.parametrize("event", [event for event in Event if event.ends not in (None, "session")])
def test_every_end_of_many_sessions_has_words(event: Event) -> None:
    """No reason has the name of an event, which people may not know."""
    assert event in _ENDINGS


async def test_the_first_end_is_the_reason(world: World, grant: Grant, clock: Clock) -> None:
    """Events after the end of a session do not change the reason."""
    clock.forward(1)
    await sessions.logout(world.deps, Caller("user:ada"), await world.me(grant))
    clock.forward(1)
    (user,) = [user async for user in world.deps.store.listing.every_user()]
    await revoke.revoke_user(world.deps, ROOT, user.sub)
    assert await why(world, grant.access_token) == "ended: logout, by user:ada"


async def test_a_change_that_spares_a_session_did_not_end_it(world: World, grant: Grant, clock: Clock) -> None:
    """The session that changed the password lives on, so a later end is the reason."""
    clock.forward(1)
    fresh = await change_password(world.deps, HERE, await world.me(grant), PASSWORD, NEW)
    await revoke.revoke_token(world.deps, ROOT, None, fresh.access_token)
    assert await why(world, fresh.access_token) == "ended: revoked, by user:root"


@pytest.mark.parametrize("ended", [False, True], ids=["with its record", "without a record"])
async def test_explaining_reads_back_to_the_login_only(
    world: World, valkey: "redis.Redis", clock: Clock, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """Entries older than the login are not read, however long the trail is."""
    await _fill(valkey, int(clock()) - 100_000)
    await world.user()
    grant = await world.login()
    clock.forward(1)
    if ended:
        await revoke.revoke_token(world.deps, ROOT, None, grant.access_token)
    audit = world.deps.store.audit
    pages: list[int] = []

    async def counted(**asked: Any) -> tuple[list[StoredEntry], str | None]:
        entries, following = await page(**asked)
        pages.append(len(entries))
        return entries, following

    page = audit.page
    monkeypatch.setattr(audit, "page", counted)
    await world.deps.store.sessions.finish()
    explained = await explain(world.deps, grant.access_token)
    assert explained.trail[0].entry.event == "login.succeeded"
    assert len(pages) == (2 if ended else 1)


@pytest.mark.slow
async def test_a_long_trail_is_not_kept_in_memory(world: World, valkey: "redis.Redis", clock: Clock) -> None:
    """Memory holds one page of the trail and the entries that concern the session."""
    await world.user()
    grant = await world.login()
    clock.forward(1)
    await _fill(valkey, int(clock()))
    tracemalloc.start()
    explained = await explain(world.deps, grant.access_token)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [stored.entry.event for stored in explained.trail] == ["login.succeeded"]
    assert peak < LONG * 300


# A trail of this many entries; one takes at least 700 bytes in memory.
LONG = 10_000


async def _fill(valkey: "redis.Redis", at: int) -> None:
    pipeline = valkey.pipeline(transaction=False)
    document = json.dumps({"event": "password.changed", "actor": "user:x", "sub": "x", "details": {"epoch": 1}})
    for _ in range(LONG):
        pipeline.xadd("audit", {"at": at * 1000, "e": document})
    pipeline.execute()


@pytest.mark.parametrize("deleted", [True, False])
async def test_cut_off_by_the_users_epoch(
    world: World, grant: Grant, clock: Clock, monkeypatch: pytest.MonkeyPatch, deleted: bool
) -> None:
    """The reason is the same before and after the record of the session is deleted."""
    if not deleted:
        monkeypatch.setattr(world.deps.store.sessions, "delete_cut_off", lambda *_, **__: None)
    user = (await world.me(grant)).user
    clock.forward(1)
    await revoke.revoke_user(world.deps, ROOT, user.sub)
    reason = await why(world, grant.access_token)
    assert "every session of the user was ended" in reason
    assert "by user:root" in reason


async def test_a_password_change(world: World, grant: Grant, clock: Clock) -> None:
    """A password change ends the other sessions. The session that made it stays active."""
    other = await world.login()
    clock.forward(1)
    fresh = await change_password(world.deps, HERE, await world.me(grant), PASSWORD, NEW)
    assert "the password was changed" in await why(world, other.access_token)
    assert await why(world, fresh.access_token) == "active"
    assert await why(world, grant.session_id) == "active"


async def test_users_and_clients_that_are_no_more(world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Suspended users, deleted users and deleted clients are three reasons."""
    monkeypatch.setattr(world.deps.store.sessions, "delete_cut_off", lambda *_, **__: None)
    user = await world.user()
    client = await world.client(public=True)
    through, grant = await world.login(client=client), await world.login()
    clock.forward(1)
    await clients.delete(world.deps, ROOT, client.client_id)
    assert await why(world, through.access_token) == "client deleted"
    await users.update(world.deps, ROOT, user.sub, status="suspended")
    assert (await why(world, grant.access_token)).startswith("user suspended, by user:root")
    await users.delete(world.deps, ROOT, user.sub)
    assert await why(world, grant.access_token) == "user deleted"


@pytest.mark.parametrize(
    "presented",
    ["", "x", tokens.new(Kind.RESET).text, tokens.new(Kind.SECRET).text, "tok_" + "A" * 45],
    ids=range(5),
)
async def test_other_strings_are_refused(world: World, presented: str) -> None:
    """Other strings are refused, and the error does not repeat them."""
    with pytest.raises(InvalidRequest) as refused:
        await explain(world.deps, presented)
    assert len(presented) < 2 or presented not in str(refused.value)
