"""Queues of changes: for each key, one change of this worker at a time goes to the store.

Compare-and-swap alone is unfair. Of a hundred callers who change one record at the same time, one succeeds and all
others read the record again. So one user's parallel calls could keep an admin from suspending that user, and they took
the connections and the time of all other users.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from heapq import heapify, heappop, heappush
from types import TracebackType
from typing import Self, TypeVar

from authsvc.errors import StoreUnavailable, TooManyChanges

R = TypeVar("R")

# How many changes of one key may wait in a worker. Changes that go first are not counted and not limited.
MAX_WAITING = 32
# When a change beyond the limit may be tried again.
RETRY_AFTER_S = 1

# The order in a queue: changes that go first, then by age. No two numbers are equal.
Place = tuple[bool, int]
# The changes that wait for a key, as a heap. A change gets the turn when its future is done.
Queue = list[tuple[Place, "asyncio.Future[None]"]]


class Turns:
    """The queues of one store in this worker. within_s: how long a change may take, with all attempts at it."""

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._queues: dict[str, Queue] = {}
        self._numbers = itertools.count()

    def of(self, *keys: str, first: bool = False, limited: bool = True, within_s: float | None = None) -> "Turn":
        """A change of these keys.

        first: it goes before all changes that are not. limited: whether it may be refused because too many wait.
        """
        deadline = asyncio.get_running_loop().time() + (self._within_s if within_s is None else within_s)
        return Turn(self, sorted(keys), (not first, next(self._numbers)), deadline, limited=limited and not first)

    async def take(self, key: str, place: Place, deadline: float, *, limited: bool) -> None:
        """Wait until it is the turn of this place. Raises TooManyChanges, StoreUnavailable."""
        queue = self._queues.get(key)
        if queue is None:
            self._queues[key] = []
            return
        if limited and len(queue) >= MAX_WAITING:
            raise TooManyChanges(RETRY_AFTER_S)
        turn = asyncio.get_running_loop().create_future()
        heappush(queue, (place, turn))
        try:
            async with asyncio.timeout_at(deadline):
                await turn
        except BaseException as gone:
            if turn.cancelled():
                with suppress(ValueError):  # `give_back` may have dropped it
                    queue.remove((place, turn))
                    heapify(queue)
            else:
                self.give_back(key)  # the turn came in the same moment
            if isinstance(gone, TimeoutError):
                raise too_many() from None
            raise

    def give_back(self, key: str) -> None:
        """Give the turn to the next change in the queue."""
        queue = self._queues[key]
        while queue:
            _, turn = heappop(queue)
            if not turn.done():
                turn.set_result(None)
                return
        del self._queues[key]


class Turn:
    """One change. Each attempt at it is an `async with` of the same Turn, which keeps its place in the queue.

    Entering raises TooManyChanges, and StoreUnavailable when the time of the change is over.
    """

    def __init__(self, turns: Turns, keys: list[str], place: Place, deadline: float, *, limited: bool) -> None:
        self._turns = turns
        # All changes take their keys in the same order, so that no two can wait for each other.
        self._keys = keys
        self._place = place
        self._limited = limited
        self._held: list[str] = []
        self._deadline = deadline
        self._tried = False

    async def until_swapped(self, attempt: Callable[[], Awaitable[tuple[bool, R]]]) -> R:
        """Make attempts at a swap, each in a turn, until the first value of one is True. Returns the second value."""
        while True:
            async with self:
                swapped, result = await attempt()
            if swapped:
                return result

    async def __aenter__(self) -> Self:
        if self._tried and asyncio.get_running_loop().time() >= self._deadline:
            raise too_many()
        try:
            for key in self._keys:
                await self._turns.take(key, self._place, self._deadline, limited=self._limited)
                self._held.append(key)
        except BaseException:
            self._give_back()
            raise
        self._tried, self._limited = True, False  # it has its place, for the next attempts too
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def _give_back(self) -> None:
        held, self._held = self._held, []
        for key in held:
            self._turns.give_back(key)


def too_many() -> StoreUnavailable:
    """The error of a change whose time is over: changes of other workers came first each time."""
    return StoreUnavailable("a record is changed by too many at once")
