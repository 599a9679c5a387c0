"""Races of keys: with their rotation, their revocation, and whatever ends them or the session that makes them."""

import asyncio
import random
from typing import Any

import pytest

from authsvc.core.session import Active
from authsvc.errors import AuthError, InvalidToken, NotFound
from authsvc.flows import api_keys, revoke, sessions
from authsvc.flows.api_keys import Issued, Wanted
from authsvc.flows.deps import OPERATOR, Deps
from authsvc.flows.introspect import look_up
from authsvc.settings import Settings
from tests.conftest import CHEAP, Clock
from tests.flows.conftest import HERE, World, caught, without_swap
from tests.flows.test_races import ACTS, SPARING, Act, Case, Pausing

pytestmark = pytest.mark.slow

# Rounds at random moments. They add to the tests that go through all interleavings of two acts one by one.
ROUNDS = 100
DAY = 86400


@pytest.fixture
def settings() -> Settings:
    return Settings(**CHEAP)


async def is_active(world: World, text: str) -> bool:
    return isinstance(await look_up(world.deps, text), Active)


class PausingAtEach(Pausing):
    """Holds a task up before its n-th call of the store, lookups included."""

    def __init__(self, deps: Deps, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        super().__init__(deps, monkeypatch, at)
        monkeypatch.setattr(deps.store.lookup, "session", self._counted(deps.store.lookup.session))

    @property
    def calls(self) -> int:
        return self._calls


async def end_the_session(case: Case) -> None:
    await revoke.revoke_session(case.other.deps, OPERATOR, case.victim.session_id)


async def log_out(case: Case) -> None:
    await sessions.logout(case.other.deps, HERE, await case.other.me(case.victim))


ENDS: dict[str, Act] = ACTS | {"end the session": end_the_session, "log out": log_out}
# These end the session that makes the key, and no key that was there before.
SURVIVED = SPARING | {"end the session", "log out"}


async def made_meanwhile(workers: list[World], clock: Clock, what: str) -> list[tuple[Issued | AuthError, bool]]:
    """What a stolen session gets, and whether it is active, when the act falls before the n-th call of making a key."""
    mine, other = workers[0], workers[1]
    found: list[tuple[Issued | AuthError, bool]] = []
    while True:
        case = Case(mine, other, len(found))
        await case.prepare()
        thief = await mine.me(case.victim)
        with pytest.MonkeyPatch.context() as patch:
            pause = PausingAtEach(mine.deps, patch, len(found))
            task = asyncio.create_task(caught(api_keys.create(mine.deps, HERE, thief, Wanted("mine"))))
            if not await pause.held_up(task):
                assert isinstance(task.result(), Issued)
                return found
            clock.forward(1)
            await ENDS[what](case)
            pause.go.set()
            made = await task
        found.append((made, isinstance(made, Issued) and await is_active(other, made.text)))


@pytest.mark.parametrize("what", ENDS)
async def test_making_a_key_while_the_session_ends(workers: list[World], clock: Clock, what: str) -> None:
    """A key that is made while its session ends is dead or refused.

    Only a key that was complete before the end survives, where keys do: the last interleaving has the audit event alone
    after the end.
    """
    found = await made_meanwhile(workers, clock, what)
    assert len(found) >= 4, "the calls were not counted"
    assert [active for _, active in found[:-1]] == [False] * (len(found) - 1)
    assert found[-1][1] is (what in SURVIVED)


@pytest.mark.parametrize("what", sorted(SURVIVED))
async def test_the_control_without_a_second_look(
    workers: list[World], clock: Clock, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Without the second look at the session, its thief keeps a key, so the test above can fail."""

    async def yes(*_: Any) -> bool:
        return True

    monkeypatch.setattr(api_keys, "_is_active", yes)
    found = await made_meanwhile(workers, clock, what)
    assert any(active for _, active in found[:-1])


async def a_key(world: World, sub: str) -> Issued:
    return await api_keys.create_for(world.deps, OPERATOR, sub, Wanted("x"), "app")


async def rotated_meanwhile(workers: list[World], clock: Clock, end: str) -> list[bool]:
    """Whether any secret is active after a revocation that fell before the n-th call of a rotation."""
    mine, other = workers[0], workers[1]
    found: list[bool] = []
    user = await mine.user()
    while True:
        key = await a_key(mine, user.sub)
        with pytest.MonkeyPatch.context() as patch:
            pause = PausingAtEach(mine.deps, patch, len(found))
            rotation = caught(api_keys.rotate_any(mine.deps, OPERATOR, key.key_id, DAY))
            task = asyncio.create_task(rotation)
            if not await pause.held_up(task):
                assert isinstance(task.result(), Issued)
                return found
            clock.forward(1)
            if end == "the key":
                await api_keys.revoke(other.deps, OPERATOR, key.key_id)
            elif end == "all keys":
                await api_keys.revoke_all(other.deps, OPERATOR, user.sub)
            else:
                await revoke.revoke_user(other.deps, OPERATOR, user.sub)
            assert not await is_active(other, key.text)
            pause.go.set()
            got = await task
        assert isinstance(got, Issued | NotFound), got
        texts = [key.text, *([got.text] if isinstance(got, Issued) else [])]
        found.append(any([await is_active(other, text) for text in texts]))


@pytest.mark.parametrize("end", ["the key", "all keys", "the user"])
async def test_rotating_a_key_while_it_is_revoked(workers: list[World], clock: Clock, end: str) -> None:
    """After the answer of the revocation no secret of the key is active, whenever the rotation looked and wrote."""
    found = await rotated_meanwhile(workers, clock, end)
    assert len(found) >= 3, "the calls were not counted"
    assert not any(found)


async def test_the_control_without_the_swap(
    workers: list[World], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without compare-and-swap a rotation revives a revoked key, so the test above can fail."""
    without_swap(monkeypatch)
    assert any(await rotated_meanwhile(workers, clock, "the key"))


async def test_two_rotations_at_once(workers: list[World], clock: Clock) -> None:
    """Rotations at the same moment follow each other: the last two secrets are good, and no other one."""
    rng, mine = random.Random(1), workers[0]
    user = await mine.user()
    for _ in range(ROUNDS // 10):
        key = await a_key(mine, user.sub)
        rotations = [caught(api_keys.rotate_any(rng.choice(workers).deps, OPERATOR, key.key_id, DAY)) for _ in range(8)]
        done = [one for one in await asyncio.gather(*rotations) if isinstance(one, Issued)]
        assert len(done) == len(rotations)
        active = [await is_active(mine, one.text) for one in (key, *done)]
        assert sum(active) == 2
        assert not active[0]


async def looked_at(workers: list[World], text: str, stop: asyncio.Event, revoked: asyncio.Event) -> int:
    """Ask on all workers, over and over. Returns how many answers were active though they were asked for too late."""
    late = 0
    while not stop.is_set():
        was_revoked = revoked.is_set()
        answers = await asyncio.gather(*(is_active(world, text) for world in workers))
        late += was_revoked and sum(answers)
    return late


async def test_introspection_against_revocation_and_rotation(workers: list[World]) -> None:
    """From the answer of a revocation, or of a rotation without overlap, on, no worker finds the old secret active."""
    rng, mine, met = random.Random(2), workers[0], 0
    user = await mine.user()
    for round_ in range(ROUNDS):
        key = await a_key(mine, user.sub)
        stop, revoked = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(looked_at(workers, key.text, stop, revoked))
        for _ in range(rng.randrange(30)):
            await asyncio.sleep(0)
        actor = workers[round_ % 3].deps
        match round_ % 3:
            case 0:
                await api_keys.revoke(actor, OPERATOR, key.key_id)
            case 1:
                await api_keys.rotate_any(actor, OPERATOR, key.key_id, 0)
            case _:
                await api_keys.revoke_all(actor, OPERATOR, user.sub)
        revoked.set()
        met += not task.done()
        await asyncio.gather(*(is_active(world, key.text) for world in workers))
        stop.set()
        assert await task == 0
    assert met == ROUNDS


async def test_a_rotation_of_a_stolen_session_tells_nobody(workers: list[World], clock: Clock) -> None:
    """The new secret is told to nobody whose session ends during the rotation."""
    mine, refused = workers[0], 0
    for at in range(4):
        case = Case(mine, workers[1], at)
        await case.prepare()
        key = await a_key(mine, case.sub)
        thief = await mine.me(case.victim)
        with pytest.MonkeyPatch.context() as patch:
            pause = PausingAtEach(mine.deps, patch, at)
            task = asyncio.create_task(caught(api_keys.rotate(mine.deps, HERE, thief, key.key_id, DAY)))
            assert await pause.held_up(task)
            clock.forward(1)
            await ENDS["end the session"](case)
            pause.go.set()
            refused += isinstance(await task, InvalidToken)
        assert await is_active(mine, key.text)
    assert refused == 4
