"""Reports of leaked tokens against refreshes, resets, steps and introspections, at every point of both."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from authsvc.core import token as tokens
from authsvc.core.client import BUILT_IN
from authsvc.core.session import Session
from authsvc.core.user import Credentials
from authsvc.driver.scripts import Change, delete_command, swap_command
from authsvc.errors import AuthError, InvalidGrant, InvalidSession
from authsvc.flows import leaked
from authsvc.flows.clients import rotate_secret
from authsvc.flows.deps import OPERATOR
from authsvc.flows.grants import Grant
from authsvc.flows.introspect import introspect
from authsvc.flows.password import new_reset_code, reset_password
from authsvc.flows.steps import Completed
from authsvc.store import keys
from authsvc.store.leaks import End, Held, Leaks
from tests.conftest import Clock
from tests.flows.conftest import HERE, World, caught
from tests.flows.test_races import Pausing, settled
from tests.flows.test_steps import by_code, enrolled, first_step

ROUNDS = 100
NEW = "seven quiet herons wading"


async def report(world: World, *texts: str | None) -> None:
    assert await leaked.report(world.deps, HERE, [(text or "", None) for text in texts], limited=False)


async def held_up_anywhere(
    held: World, begin: Callable[[], Awaitable[Any]], between: Callable[[], Awaitable[None]]
) -> AsyncIterator[Any]:
    """The results of an act into which `between` falls before its first store call, its second one, and so on."""
    at = 0
    while True:
        with pytest.MonkeyPatch.context() as patch:
            pause = Pausing(held.deps, patch, at)
            act = asyncio.create_task(caught(begin()))
            if not await pause.held_up(act):
                break
            await between()
            pause.go.set()
            yield await act
        at += 1
    assert at >= 2, "the calls were not counted"


async def refreshes_against_a_report(workers: list[World]) -> list[bool]:
    """Whether a session survived, for each point of the report into which a whole refresh fell."""
    mine, other = workers[0], workers[1]
    await mine.user()
    grant: Grant
    refreshed: Grant | AuthError
    survived = []

    async def begin() -> None:
        nonlocal grant
        grant = await other.login()
        await report(mine, grant.access_token)

    async def refresh() -> None:
        nonlocal refreshed
        refreshed = await settled(other.refresh(grant.refresh_token))

    async for result in held_up_anywhere(mine, begin, refresh):
        assert result is None
        survived.append(isinstance(refreshed, Grant) and await other.active(refreshed.access_token))
    return survived


async def test_a_refresh_that_falls_into_a_report(workers: list[World]) -> None:
    """Once a report is answered, its session is over, whatever tokens a refresh has made meanwhile."""
    survived = await refreshes_against_a_report(workers)
    assert not any(survived)


async def test_the_control_that_ends_only_what_was_read(workers: list[World], monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that deletes the record only as it was read, and is content then, lets a refresh survive."""

    def as_read(self: Leaks, handle: str, session: Session) -> End:
        raw = seen[handle].raw(keys.session(handle)) or b""
        return End(swap_command([Change(keys.session(handle), raw, b"")]))

    seen: dict[str, Held] = {}
    find = Held.session

    def noting(self: Held, handle: str) -> Any:
        seen[handle] = self
        return find(self, handle)

    monkeypatch.setattr(Held, "session", noting)
    monkeypatch.setattr(Leaks, "end_session", as_read)
    assert any(await refreshes_against_a_report(workers))


async def test_a_report_that_falls_into_a_refresh(workers: list[World]) -> None:
    """A refresh that is held up anywhere while its token is reported gives no living token."""
    mine, other = workers[0], workers[1]
    await mine.user()
    grant: Grant

    async def begin() -> Grant:
        nonlocal grant
        grant = await other.login()
        return await mine.refresh(grant.refresh_token)

    async def between() -> None:
        await report(other, grant.refresh_token)

    async for result in held_up_anywhere(mine, begin, between):
        assert isinstance(result, Grant | InvalidGrant)
        assert not isinstance(result, Grant) or not await mine.alive(result)
        assert not await other.alive(grant)


@pytest.mark.slow
async def test_introspection_after_the_answer(workers: list[World]) -> None:
    """From the answer on, no worker finds the token active, although each one remembers the answer about it."""
    await workers[0].user()
    asker = await workers[0].client("introspect")
    _, secret = await _rotated(workers[0], asker.client_id)

    async def active(world: World, token: str) -> bool:
        answers = await introspect(world.deps, asker.client_id, secret, [token])
        assert answers is not None
        return b'"active":true' in answers[0]

    for round_ in range(ROUNDS):
        grant = await workers[0].login()
        for world in workers:
            assert [await active(world, grant.access_token) for _ in range(3)] == [True] * 3
        token = grant.access_token if round_ % 2 else grant.refresh_token
        asking = [asyncio.create_task(active(world, grant.access_token)) for world in workers for _ in range(3)]
        for _ in range(round_ % 12):
            await asyncio.sleep(0)
        await report(workers[round_ % 3], token)
        assert [await active(world, grant.access_token) for world in workers] == [False] * 3
        await asyncio.gather(*asking)


async def _rotated(world: World, client_id: str) -> tuple[Any, str]:
    return await rotate_secret(world.deps, OPERATOR, client_id)


async def resets_against_a_report(workers: list[World]) -> list[bool]:
    """Whether a reset set the password after its code was reported, for each point at which the report came."""
    mine, other = workers[0], workers[1]
    user = await mine.user()
    code, late = "", []
    before: Credentials

    async def begin() -> None:
        nonlocal code
        code, _ = await new_reset_code(other.deps, OPERATOR, user.sub)
        await reset_password(mine.deps, HERE, code, NEW)

    async def between() -> None:
        nonlocal before
        await report(other, code)
        before = await other.deps.store.credentials.get(user.sub)

    async for result in held_up_anywhere(mine, begin, between):
        assert result is None or isinstance(result, InvalidGrant)
        after = await other.deps.store.credentials.get(user.sub)
        late.append(after.hash != before.hash)
    return late


async def test_a_report_that_falls_into_a_reset(workers: list[World]) -> None:
    """A reset that has looked at its code, and not yet set the password, fails once the code was reported."""
    assert not any(await resets_against_a_report(workers))


async def test_the_control_that_deletes_only_the_code(workers: list[World], monkeypatch: pytest.MonkeyPatch) -> None:
    """If only the record of the code is deleted, a reset that is under way sets the password later."""

    async def only_the_code(self: Leaks, held: Held, handle: str, sub: str, credentials: Credentials) -> End:
        return End(delete_command([keys.code(handle)]))

    monkeypatch.setattr(Leaks, "end_code", only_the_code)
    assert any(await resets_against_a_report(workers))


async def test_a_report_that_falls_into_a_step(workers: list[World], clock: Clock) -> None:
    """A step opens no session after its login was reported, unless its answer had been accepted before."""
    mine, other = workers[0], workers[1]
    phone = await enrolled(mine, clock)
    step, accepted, opened = "", [], []

    async def begin() -> Completed:
        nonlocal step
        clock.forward(60)
        step = await first_step(other)
        return await by_code(mine, step, phone.code())

    async def between() -> None:
        token = tokens.parse(step)
        assert token is not None
        held = await other.deps.store.steps.find(token.handle)
        accepted.append(held is None or held.done)
        await report(other, step)

    async for result in held_up_anywhere(mine, begin, between):
        assert isinstance(result, Completed | InvalidSession), result
        opened.append(isinstance(result, Completed))
    assert opened == accepted
    assert {*opened} == {True, False}


async def test_reports_at_the_same_time(workers: list[World]) -> None:
    """Many reports of one token on three workers end it, and each gets an answer."""
    await workers[0].user()
    client = await workers[0].deps.store.clients.get(BUILT_IN)
    for _ in range(10):
        grant = await workers[0].login(client=client)
        await asyncio.gather(*(report(workers[n % 3], grant.access_token) for n in range(20)))
        assert not await workers[0].alive(grant)
