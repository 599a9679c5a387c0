"""Batches of questions during a long outage. The tests move the clock."""

import asyncio
import gc
from collections.abc import Callable, Sequence

import pytest
from authsvc_sdk.answers import INACTIVE
from authsvc_sdk.errors import Unavailable
from authsvc_sdk.lookups import LookupResult, Lookups

Forward = Callable[[float], None]


class Outage:
    """A service that answers nothing until `over`, and the tokens about which it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._over = asyncio.Event()

    def over(self) -> None:
        self._over.set()

    async def fetch(self, tokens: Sequence[str]) -> list[LookupResult]:
        self.asked += tokens
        await self._over.wait()
        return [INACTIVE] * len(tokens)


async def block(lookups: Lookups) -> "list[asyncio.Task[object]]":
    """Use all requests that may be on their way at a time."""
    tasks: list[asyncio.Task[object]] = []
    for number in range(8):
        tasks.append(asyncio.create_task(lookups.ask(f"blocking {number}")))
        await asyncio.sleep(0.001)
    return tasks


async def give_up(lookups: Lookups, token: str) -> None:
    """Ask, and wait no longer than a moment."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lookups.ask(token), 0.001)


async def test_questions_that_nobody_waits_for_are_not_asked(now: Forward) -> None:
    """After an outage the queue has no questions of callers that have given up, and new callers wait behind none."""
    outage = Outage()
    lookups = Lookups(outage.fetch, patience_s=3)
    blocking = await block(lookups)
    await asyncio.gather(*(give_up(lookups, f"late {number}") for number in range(500)))
    now(3)
    new = asyncio.create_task(lookups.ask("new"))
    await asyncio.sleep(0)
    outage.over()
    assert await new is INACTIVE
    await asyncio.gather(*blocking)
    assert not [token for token in outage.asked if token.startswith("late")]
    assert not lookups._waiting
    await lookups.aclose()


async def test_an_unexpected_fault_reaches_its_callers(caplog: pytest.LogCaptureFixture) -> None:
    """Every caller of the batch gets the reason of a fault that nobody foresaw, and asyncio logs nothing."""

    async def fetch(tokens: Sequence[str]) -> list[LookupResult]:
        raise OverflowError("port must be 0-65535")

    lookups = Lookups(fetch, patience_s=3)
    failures = await asyncio.gather(lookups.ask("one"), lookups.ask("two"), return_exceptions=True)
    await lookups.aclose()
    gc.collect()
    for failure in failures:
        assert isinstance(failure, Unavailable)
        assert failure.reason == "the check failed: OverflowError: port must be 0-65535"
    assert not caplog.records


async def test_a_caller_that_joins_a_question_keeps_it(now: Forward) -> None:
    """A question lives as long as its last caller waits."""
    outage = Outage()
    lookups = Lookups(outage.fetch, patience_s=3)
    blocking = await block(lookups)
    first = asyncio.create_task(lookups.ask("shared"))
    await asyncio.sleep(0)
    now(2)
    second = asyncio.create_task(lookups.ask("shared"))
    await asyncio.sleep(0)
    now(2)
    outage.over()
    assert await first is await second is INACTIVE
    assert outage.asked.count("shared") == 1
    await asyncio.gather(*blocking)
