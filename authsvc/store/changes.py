"""What changes in the store, told to many: the announcements of all primaries, in order, with a sign of life."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass

from authsvc.driver.connection import Connection
from authsvc.driver.deadline import request_budget
from authsvc.driver.errors import driver_errors
from authsvc.driver.tracking import Tracking
from authsvc.errors import StoreUnavailable
from authsvc.store import keys

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
# Below a second with what it takes to notice: a store that is silent is as good as none.
ANSWER_TIMEOUT_S = 0.8
# Digests in one announcement.
MAX_DIGESTS = 1000
# Keys changed in one turn of the event loop; of more than these it is cheaper for everybody to forget everything.
MAX_NAMED = 10_000
# Announcements that one subscriber may be behind.
MAX_BACKLOG = 64
# Between attempts to follow the store again: the first, and the longest.
_PAUSE_S, _MAX_PAUSE_S = 0.05, 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Announcement:
    """One thing to tell. Shared by all subscribers, compared by identity.

    digests: of the names of changed keys. at: of a heartbeat, up to which moment everything has been told, in
    milliseconds of `now_ms`; who hears it late thereby knows how late. heard_at: when the first of the changes was
    heard, on the same clock.
    """

    name: str
    digests: frozenset[str] = frozenset()
    at: float | None = None
    heard_at: float | None = None


EVERYTHING = Announcement("everything")


def now_ms() -> float:
    """A clock that only runs forward; its readings mean something only beside others of the same process."""
    return time.monotonic() * 1000


class Subscription:
    """What one subscriber has not been told yet. Begins with `EVERYTHING`, as soon as changes are being followed.

    It is bounded: who falls too far behind is told to forget everything instead.
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
        elif EVERYTHING not in backlog:  # which is yet to be told, and includes this
            backlog.append(announcement)
        self._wake()

    async def take(self) -> Announcement | None:
        """The next announcement; None when there will be no more."""
        while not self._closed:
            while self._backlog:
                announcement = self._backlog.popleft()
                # An old sign of life, to a subscriber that has been slow, would be a lie.
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


class Changes:
    """Follows the store while there are subscribers. Whenever it may have missed something, it says `EVERYTHING`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._metrics = connection.metrics
        self._subscriptions: set[Subscription] = set()
        self._following: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        # Whether every change is being announced to us, and has been since the last EVERYTHING.
        self._live = False
        self._changed: dict[bytes, None] = {}
        self._heard_at = 0.0

    def subscribe(self) -> Subscription:
        subscription = Subscription(self._left)
        self._subscriptions.add(subscription)
        self._count()
        if self._live:
            subscription.put(EVERYTHING)
        if self._following is None:
            self._following = asyncio.create_task(self._follow(), context=Context())  # no request's
        return subscription

    async def close(self) -> None:
        """End all subscriptions."""
        for subscription in list(self._subscriptions):
            subscription.close()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _left(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
        self._count()
        if not self._subscriptions and self._following is not None:  # nobody to follow the store for
            self._following.cancel()
            self._ending.add(self._following)
            self._following.add_done_callback(self._ending.discard)
            self._following = None
            self._lose()

    async def _follow(self) -> None:
        task, pause = asyncio.current_task(), _PAUSE_S
        with request_budget(None):  # it outlives the request that began it
            while True:
                try:
                    await self._follow_once()
                except* StoreUnavailable:
                    if self._live:
                        log.warning("changes of the store are not being heard")
                except* Exception:  # whatever it is, subscribers must not wait for ever
                    log.exception("following the store failed")
                # A group of tasks of which one fails in that moment keeps it to itself that it was cancelled.
                if task is not self._following:
                    return
                pause = _PAUSE_S if self._live else min(2 * pause, _MAX_PAUSE_S)
                self._lose()
                await asyncio.sleep(pause)

    async def _follow_once(self) -> None:
        trackings = await self._connection.trackings(keys.TRACKED, self._heard)
        try:
            for tracking in trackings:
                await tracking.open()
            async with asyncio.TaskGroup() as group:
                for tracking in trackings:
                    group.create_task(tracking.listen())
                group.create_task(self._beat(trackings))
        finally:
            for tracking in trackings:
                await tracking.close()

    async def _beat(self, trackings: Sequence[Tracking]) -> None:
        """Give a sign of life each second, for as long as every primary answers, and knows of no other."""
        loop = asyncio.get_running_loop()
        while True:
            due, at = loop.time() + HEARTBEAT_S, now_ms()
            with driver_errors(self._metrics):
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    async with asyncio.TaskGroup() as group:
                        for tracking in trackings:
                            group.create_task(tracking.check_role())
                    await self._connection.check_covered(trackings)
            self._flush()  # what was heard before the answer is told before the sign of life
            if not self._live:
                # Only now: before, tracking was off and anything may have changed. From here on all is announced.
                self._live = True
                self._count()
                self._announce(EVERYTHING)
            self._announce(Announcement("heartbeat", at=at))
            await asyncio.sleep(due - loop.time())

    def _heard(self, names: list[bytes] | None) -> None:
        if not self._live:
            return  # the EVERYTHING to come includes it
        if names is None:
            self._changed.clear()
            self._announce(EVERYTHING)
            return
        if not self._changed:
            self._heard_at = now_ms()
            # all that is heard in this turn of the event loop goes out together
            asyncio.get_running_loop().call_soon(self._flush)
        self._changed.update(dict.fromkeys(names))

    def _flush(self) -> None:
        names, self._changed = list(self._changed), {}
        if len(names) > MAX_NAMED:
            self._announce(EVERYTHING)
            return
        for at in range(0, len(names), MAX_DIGESTS):
            digests = frozenset(map(keys.digest, names[at : at + MAX_DIGESTS]))
            self._announce(Announcement("forget", digests, heard_at=self._heard_at))

    def _lose(self) -> None:
        self._live = False
        self._count()
        self._changed.clear()

    def _count(self) -> None:
        self._metrics.event_subscribers.set(len(self._subscriptions))
        self._metrics.event_subscribers_live.set(len(self._subscriptions) if self._live else 0)

    def _announce(self, announcement: Announcement) -> None:
        for subscription in self._subscriptions:
            subscription.put(announcement)
