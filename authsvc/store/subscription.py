"""Announcements of changes, and the bounded queue of one subscriber to them."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

HEARTBEAT_S = 1.0
# Announcements that a subscriber may be behind.
MAX_BACKLOG = 64


@dataclass(frozen=True, slots=True, eq=False)
class Announcement:
    """A message to all subscribers, compared by identity.

    digests: of the names of changed keys. at: only in a heartbeat. Every change before this moment has been announced,
    so that a late subscriber can tell how late it is. heard_at: when the store announced the first of the changes. Both
    in milliseconds of `now_ms`.
    """

    name: str
    digests: frozenset[str] = frozenset()
    at: float | None = None
    heard_at: float | None = None


EVERYTHING = Announcement("everything")


def now_ms() -> float:
    """A clock that never goes back. Compare its times only with times of the same process."""
    return time.monotonic() * 1000


class Subscription:
    """The announcements that one subscriber has yet to take. The first is `EVERYTHING`, once the store is followed.

    The queue is bounded: `EVERYTHING` takes the place of a long one.
    """

    def __init__(self, leave: Callable[["Subscription"], None]) -> None:
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._backlog: deque[Announcement] = deque()
        self._beat: Announcement | None = None
        self._beat_at = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def put(self, announcement: Announcement) -> None:
        backlog = self._backlog
        if announcement.at is not None:
            if self._beat is not None and self._beat in backlog:
                backlog.remove(self._beat)
            backlog.append(announcement)
            self._beat, self._beat_at = announcement, self._loop.time()
        elif announcement is EVERYTHING or len(backlog) >= MAX_BACKLOG:
            backlog.clear()
            backlog.append(EVERYTHING)
        elif EVERYTHING not in backlog:  # an EVERYTHING in the queue includes this announcement
            backlog.append(announcement)
        self._wake()

    async def take(self) -> Announcement | None:
        """The next announcement; None when there will be no more."""
        while not self._closed:
            while self._backlog:
                announcement = self._backlog.popleft()
                # To a slow subscriber an old heartbeat would say that the connection works, when it may not.
                if announcement is not self._beat or self._loop.time() < self._beat_at + HEARTBEAT_S:
                    return announcement
            self._waiter = self._loop.create_future()
            await self._waiter
        return None

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._backlog.clear()
            self._wake()
            self._leave(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
