"""The feed of changes: what each event of `GET /events` does to the cache.

A heartbeat says that all earlier changes have been announced. It may arrive late, so it counts from the moment when it
was sent. That moment needs no synchronised clocks: each event carries the sender's `at`, in milliseconds of a clock
that only runs forward. The sender sent the first event after we had requested the stream, so on our own clock

    moment of sending  >=  moment of the request + (at - first at)

holds, however slow the network is. The estimate is too early by the time that the request took to arrive and the
service took to answer. The time to connect does not count, because on a busy machine it could use up the whole bound.
"""

import json
from typing import Any

from authsvc_sdk import clock
from authsvc_sdk.cache import Cache
from authsvc_sdk.sse import EventParser

_MAX_EVENT_BYTES = 1 << 20
_MAX_LATE_S = 5.0
_MAX_AT_MS = 1 << 53  # larger numbers are not exact


class BrokenFeed(Exception):
    """The stream is malformed, or so late that it is useless. The client needs a new stream."""


class Feed:
    """One stream of changes, from its request to its end. Updates the cache.

    requested_at: when the client requested the stream, by our clock.
    """

    def __init__(self, cache: Cache, requested_at: float, silence_s: float) -> None:
        self._cache = cache
        self._requested_at = requested_at
        self._silence_s = silence_s
        self._events = EventParser(_MAX_EVENT_BYTES)
        self._begun = False
        self._offset: float | None = None  # our clock minus the sender's; never too large
        self._late_since: float | None = None

    def receive(self, chunk: bytes) -> None:
        """Apply the events that this chunk completes. Raises BrokenFeed."""
        try:
            for name, data in self._events.feed(chunk):
                self._apply(name, data)
        except (ValueError, TypeError, AttributeError) as error:
            raise BrokenFeed("not an event of the service") from error

    def _apply(self, name: str, data: str) -> None:
        if name == "everything":
            self._begun = True
            self._cache.forget_all()
            self._sent_at(json.loads(data))
        elif not self._begun:
            raise BrokenFeed("the stream does not begin with `everything`")
        elif name == "forget":
            keys = json.loads(data)
            if not isinstance(keys, list):
                raise BrokenFeed("`forget` without a list")
            self._cache.forget(keys)
        elif name == "heartbeat":
            self._heartbeat(self._sent_at(json.loads(data)))
        # Other names are events of a later version of the service.

    def _sent_at(self, event: dict[str, Any]) -> float | None:
        """When the sender sent an event, in seconds of the sender's clock. None: the event does not say."""
        at = event.get("at")
        if at is None:
            return None
        if isinstance(at, bool) or not 0 <= at <= _MAX_AT_MS:  # `nan` and `inf` are no times either
            raise BrokenFeed("not a time of the service")
        sent_at = float(at) / 1000
        if self._offset is None:
            self._offset = self._requested_at - sent_at
        return sent_at

    def _heartbeat(self, at: float | None) -> None:
        if at is None or self._offset is None:
            return  # a heartbeat without a time proves nothing
        now = clock.now()
        # An event cannot arrive before it was sent, so this corrects the offset where the sender's clock is faster.
        self._offset = min(self._offset, now - at)
        sent = at + self._offset
        self._cache.confirm(sent)
        self._check_delay(now, now - sent)

    def _check_delay(self, now: float, delay_s: float) -> None:
        # The delay grows if the sender's clock runs slower than ours, or if a queue builds up on the way. Only a new
        # stream cures both.
        if delay_s <= self._silence_s / 4:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = now
        elif now - self._late_since >= _MAX_LATE_S:
            raise BrokenFeed("heartbeats arrive late")
