"""Queues of changes: one contender for each key, the urgent ones first, and no turn is ever lost."""

import asyncio
import random

import pytest
import redis

from authsvc.core.user import User
from authsvc.errors import StoreUnavailable, TooManyChanges
from authsvc.flows.deps import Deps
from authsvc.store.turns import MAX_WAITING, Turn, Turns
from tests.flows.contents import Commands


async def take(turn: Turn, order: list[str], name: str) -> None:
    async with turn:
        order.append(name)
        await asyncio.sleep(0)


async def test_one_at_a_time_in_the_order_of_arrival() -> None:
    """Of several changes of one key, one has the turn, and the others follow by age. Other keys do not wait."""
    turns, order = Turns(10), list[str]()
    async with turns.of("a"):
        waiting = [asyncio.create_task(take(turns.of("a"), order, str(number))) for number in range(3)]
        await take(turns.of("b"), order, "another key")
        assert order == ["another key"]
    await asyncio.gather(*waiting)
    assert order == ["another key", "0", "1", "2"]


async def test_what_goes_first_overtakes() -> None:
    """A change that goes first comes before all that wait, and is not refused when the queue is full."""
    turns, order = Turns(10), list[str]()
    async with turns.of("a"):
        waiting = [asyncio.create_task(take(turns.of("a"), order, "own")) for _ in range(MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyChanges):
            async with turns.of("a"):
                pass
        waiting.append(asyncio.create_task(take(turns.of("a", first=True), order, "admin")))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert order == ["admin"] + ["own"] * MAX_WAITING


async def test_a_further_attempt_keeps_its_place() -> None:
    """A change that failed is tried again before the changes that came after it."""
    turns, order = Turns(10), list[str]()
    turn = turns.of("a")
    async with turn:
        later = asyncio.create_task(take(turns.of("a"), order, "later"))
        again = asyncio.create_task(take(turn, order, "again"))
        await asyncio.sleep(0)
    await asyncio.gather(later, again)
    assert order == ["again", "later"]


async def test_a_change_gives_up_at_its_deadline() -> None:
    """Neither a wait nor the attempts of a change go on after its time, and the others do not notice."""
    turns, order = Turns(0.02), list[str]()
    async with turns.of("a"):
        with pytest.raises(StoreUnavailable):
            async with turns.of("a", first=True):
                pass
    await take(turns.of("a"), order, "after")
    attempts = list[int]()

    async def fail_for_ever(turn: Turn) -> None:
        while True:
            async with turn:
                attempts.append(1)
                await asyncio.sleep(0)

    with pytest.raises(StoreUnavailable):
        await fail_for_ever(turns.of("a"))
    assert len(attempts) > 1
    assert order == ["after"]


async def test_no_turn_is_lost() -> None:
    """Whatever is cancelled or fails, at any moment, all others get their turns, and nothing is left behind."""
    turns, running, most = Turns(10), 0, 0
    rng = random.Random(7)

    async def change() -> None:
        nonlocal running, most
        async with turns.of(*rng.sample(("a", "b", "c"), rng.randint(1, 3)), limited=False):
            running += 1
            most = max(most, running)
            try:
                await asyncio.sleep(0)
                if rng.random() < 0.3:
                    raise ValueError
            finally:
                running -= 1

    tasks = []
    for _ in range(2000):
        tasks.append(asyncio.create_task(change()))
        if rng.random() < 0.5:
            await asyncio.sleep(0)
        if rng.random() < 0.3:
            rng.choice(tasks).cancel()
    async with asyncio.timeout(10):
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    kinds = {type(one) for one in ended}
    assert kinds == {type(None), ValueError, asyncio.CancelledError}
    assert most <= 3
    assert not turns._queues


async def test_a_crowd_costs_the_store_two_commands_each(deps: Deps, commands: Commands) -> None:
    """Changes of one record at the same time are one read and one swap each: none is tried in vain."""
    await deps.store.users.create("u1", User(sub="u1", epoch=1, created_at=1))
    commands.reset()
    crowd = MAX_WAITING + 1
    await asyncio.gather(*(deps.store.users.change("u1", lambda user: user.changed()) for _ in range(crowd)))
    counted = commands.seen()
    # The script of a swap reads once more.
    assert (counted["eval"], counted["get"]) == (crowd, 2 * crowd)


async def test_changes_of_another_worker_only_delay(deps: Deps, valkey: "redis.Redis") -> None:
    """A change is tried until its time is over, however often another worker was faster."""
    await deps.store.users.create("u1", User(sub="u1", epoch=1, created_at=1))
    losses = 0

    def change(user: User) -> User:
        nonlocal losses
        if losses < 300:
            losses += 1
            valkey.set("user:{u1}", user.changed(claims={"losses": losses}).to_json())
        return user.changed(status="suspended")

    changed = await deps.store.users.change("u1", change, first=True)
    assert (changed.status, changed.claims, losses) == ("suspended", {"losses": 300}, 300)
