"""A call to the store has an end, and all calls of one request share a budget."""

import asyncio
from dataclasses import dataclass

import pytest

from authsvc.driver.deadline import current_budget, request_budget, store_call
from authsvc.driver.timeouts import Timeouts
from authsvc.errors import StoreUnavailable
from authsvc.metrics import Metrics

SHORT = Timeouts(call_s=0.01)
METRICS = Metrics()


@dataclass
class FakeTime:
    """Stands in for the module `time`."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    clock = FakeTime()
    monkeypatch.setattr("authsvc.driver.deadline.time", clock)
    return clock


async def take_a_second(clock: FakeTime, error: Exception | None = None) -> None:
    """Make a call that takes a second, and then fails if there is an error."""
    async with store_call(Timeouts(), METRICS):
        clock.now += 1.0
        if error is not None:
            raise error


def budget_s() -> float:
    budget = current_budget()
    assert budget is not None
    return budget.left_s


async def hang(timeouts: Timeouts) -> None:
    """Wait for a store that never answers."""
    async with store_call(timeouts, METRICS):
        await asyncio.Event().wait()


async def test_a_call_has_an_end() -> None:
    """A call that gets no answer within `call_s` is an outage, in a request and outside of one."""
    with pytest.raises(StoreUnavailable):
        await hang(SHORT)
    with request_budget(60), pytest.raises(StoreUnavailable):
        await hang(SHORT)


async def test_calls_of_a_request_share_its_budget(clock: FakeTime) -> None:
    """Each call takes its time from the budget of the request. When nothing is left, a call ends at once."""
    with request_budget(3.0):
        for left_s in (2.0, 1.0, 0.0):
            await take_a_second(clock)
            assert budget_s() == left_s
        with pytest.raises(StoreUnavailable):
            await hang(Timeouts(call_s=60))


async def test_a_failed_call_takes_from_the_budget_too(clock: FakeTime) -> None:
    """The time of a call that fails counts as well."""
    with request_budget(3.0):
        with pytest.raises(StoreUnavailable):
            await take_a_second(clock, ConnectionError())
        assert budget_s() == 2.0


async def test_tasks_of_a_request_share_its_budget(clock: FakeTime) -> None:
    """A task that a request starts takes its time from the same budget."""
    with request_budget(3.0):
        await asyncio.create_task(take_a_second(clock))
        assert budget_s() == 2.0


async def test_work_that_outlives_its_request_has_no_budget() -> None:
    """Such work may wait for `call_s`, also when the request has nothing left."""
    with request_budget(0.0):
        with request_budget(None):
            assert current_budget() is None
            async with store_call(Timeouts(call_s=60), METRICS):
                await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable):
            await hang(Timeouts(call_s=60))
    assert current_budget() is None
