"""Waiting for something that may take a moment: one iterator for synchronous and for asynchronous code."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Until:
    """Repeats the body of a loop, with a pause after each round, until the time is over. Made by `until`."""

    seconds: float
    pause_s: float

    def __iter__(self) -> Iterator[None]:
        give_up_at = time.monotonic() + self.seconds
        yield
        while time.monotonic() < give_up_at:
            time.sleep(self.pause_s)
            yield

    async def __aiter__(self) -> AsyncIterator[None]:
        give_up_at = time.monotonic() + self.seconds
        yield
        while time.monotonic() < give_up_at:
            await asyncio.sleep(self.pause_s)
            yield


def until(seconds: float, *, pause_s: float = 0.1) -> Until:
    """Rounds of a loop: at least one. The last round begins after the last pause.

    The body leaves the loop when it has succeeded. The code after the loop handles the failure::

        for _ in until(5.0):
            if store_answers():
                return
        raise StoreUnavailable("the store does not answer")
    """
    return Until(seconds, pause_s)
