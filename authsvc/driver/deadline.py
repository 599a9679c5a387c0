"""How long a caller waits for the store: a time for each call, and a budget that the calls of one request share."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass

from authsvc.driver.failures import driver_errors
from authsvc.driver.timeouts import Timeouts
from authsvc.metrics import Metrics

# A context manager with a name that is entered around each wait for the store: a span of a trace, or nothing.
Span = Callable[[str], AbstractContextManager[object]]


@dataclass(slots=True)
class Budget:
    """How long the calls of one request may still wait for the store. Each call takes its time from it."""

    left_s: float


_budget: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextmanager
def request_budget(seconds: float | None) -> Iterator[None]:
    """Give all calls inside one budget, so that several slow calls don't add up.

    None: without a budget, for work that outlives the request which began it.
    """
    token = _budget.set(None if seconds is None else Budget(seconds))
    try:
        yield
    finally:
        _budget.reset(token)


def current_budget() -> Budget | None:
    """The budget of the request that this code runs for; None outside of requests."""
    return _budget.get()


@asynccontextmanager
async def store_call(timeouts: Timeouts, metrics: Metrics, span: Span = nullcontext) -> AsyncIterator[None]:
    """Bound a call by `call_s` and by the budget of its request. Raises StoreUnavailable for errors of redis-py too."""
    budget = _budget.get()
    started = time.monotonic()
    try:
        with driver_errors(metrics), span("store"):
            async with asyncio.timeout(timeouts.call_s if budget is None else min(timeouts.call_s, budget.left_s)):
                yield
    finally:
        if budget is not None:
            budget.left_s -= time.monotonic() - started
