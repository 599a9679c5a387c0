"""Changes of the store, announced to all subscribers: from all primaries, in order, with heartbeats."""

import asyncio
import logging
from collections.abc import Sequence
from contextvars import Context

from authsvc.driver.connection import Connection
from authsvc.driver.deadline import request_budget
from authsvc.driver.failures import driver_errors
from authsvc.driver.tracking import Tracking
from authsvc.errors import StoreUnavailable
from authsvc.store import keys
from authsvc.store.subscription import EVERYTHING, HEARTBEAT_S, Announcement, Subscription, now_ms

log = logging.getLogger(__name__)

# How long a primary may take to answer before a heartbeat. With the time to notice that, less than a second.
ANSWER_TIMEOUT_S = 0.8
# Digests in one announcement.
MAX_DIGESTS = 1000
# Keys that are announced by name in one turn of the event loop. For more keys `EVERYTHING` is cheaper.
MAX_NAMED = 10_000
# The first and the longest pause between attempts to follow the store again.
_PAUSE_S, _MAX_PAUSE_S = 0.05, 1.0


class Changes:
    """Follows the store while there are subscribers. Announces `EVERYTHING` whenever it may have missed a change."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._metrics = connection.metrics
        self._subscriptions: set[Subscription] = set()
        self._following: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        # Whether the store has announced every change since the last EVERYTHING, and goes on to do so.
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
            self._following = asyncio.create_task(self._follow(), context=Context())  # outside of any request
        return subscription

    async def close(self) -> None:
        """End all subscriptions."""
        for subscription in list(self._subscriptions):
            subscription.close()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _left(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
        self._count()
        if not self._subscriptions and self._following is not None:  # the last subscriber left
            self._following.cancel()
            self._ending.add(self._following)
            self._following.add_done_callback(self._ending.discard)
            self._following = None
            self._lose()

    async def _follow(self) -> None:
        task, pause = asyncio.current_task(), _PAUSE_S
        with request_budget(None):  # following the store outlives the request that began it
            while True:
                try:
                    await self._follow_once()
                except* StoreUnavailable:
                    if self._live:
                        log.warning("changes of the store are not being heard")
                except* Exception:  # any other failure must not leave the subscribers waiting
                    log.exception("following the store failed")
                # A task group swallows a cancellation if one of its tasks fails in the same moment.
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
        """Send a heartbeat each second, for as long as every primary answers and there is no other primary."""
        loop = asyncio.get_running_loop()
        while True:
            due, at = loop.time() + HEARTBEAT_S, now_ms()
            with driver_errors(self._metrics):
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    async with asyncio.TaskGroup() as group:
                        for tracking in trackings:
                            group.create_task(tracking.check_role())
                    await self._connection.check_covered(trackings)
            self._flush()  # announce the changes that came before the answers, and then the heartbeat
            if not self._live:
                # Tracking is on from here. Before that, the store announced nothing, and anything may have changed.
                self._live = True
                self._count()
                self._announce(EVERYTHING)
            self._announce(Announcement("heartbeat", at=at))
            await asyncio.sleep(due - loop.time())

    def _heard(self, names: list[bytes] | None) -> None:
        if not self._live:
            return  # the EVERYTHING that follows includes it
        if names is None:
            self._changed.clear()
            self._announce(EVERYTHING)
            return
        if not self._changed:
            self._heard_at = now_ms()
            # Everything that the store announces in this turn of the event loop goes out together.
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
