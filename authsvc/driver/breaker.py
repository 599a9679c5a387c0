"""Not asking a server that does not answer: an outage costs each request milliseconds, after the first have waited.

Own code: pybreaker knows asynchronous calls through Tornado only and redis-py's own is a part of switching between
databases; here nothing is to be switched, and what counts as a failure is ours to say.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from authsvc.errors import StoreUnavailable
from authsvc.metrics import Metrics

# It opens when this many calls failed within the window, and at least every second one.
MIN_FAILURES = 5
WINDOW_S = 5.0
# While it is open, one call in this time is let through to see.
PROBE_S = 0.5
# A call that fails in less time costs nobody much, or had no more: a closed door, a hurried request.
SLOW_S = 0.3


class Breaker:
    """Tells whether to try. Only what cost time counts as a failure.

    good_until: on the monotonic clock, when there is no point in trying any more, whatever was answered before.
    """

    def __init__(self, metrics: Metrics | None = None) -> None:
        self._metrics = metrics or Metrics()
        self.good_until = math.inf
        self._open = False
        self._calls = 0
        self._failures = 0
        self._since = 0.0  # the first failure of the present window
        self._probe_at = 0.0

    def admit(self, now: float) -> None:
        """Raise StoreUnavailable if there is no point in trying now."""
        if now > self.good_until:
            self._metrics.store_errors.add("not_primary")
            raise StoreUnavailable("nobody says any more that it is the primary")
        if self._open:
            if now < self._probe_at:
                self._metrics.store_errors.add("breaker_open")
                raise StoreUnavailable("it did not answer a moment ago")
            self._probe_at = now + PROBE_S

    def worked(self) -> None:
        self._calls += 1
        if self._open:
            self.close()
            self._calls = self._failures = 0

    def failed(self) -> None:
        now = time.monotonic()
        if now - self._since > WINDOW_S:
            self._since, self._calls, self._failures = now, 0, 0
        self._calls += 1
        self._failures += 1
        if not self._open and self._failures >= MIN_FAILURES and 2 * self._failures >= self._calls:
            self._open = True
            self._metrics.breaker_opened.add()
            self._metrics.breakers_open.add(1)
            self._probe_at = now + PROBE_S

    def close(self) -> None:
        if self._open:
            self._open = False
            self._metrics.breakers_open.add(-1)


@contextmanager
def timed(breaker: Breaker) -> Iterator[None]:
    """Raise StoreUnavailable instead of doing what is inside, if the breaker is open; else tell it how that went."""
    started = time.monotonic()
    breaker.admit(started)
    try:
        yield
    except (RedisError, OSError, TimeoutError, asyncio.CancelledError) as error:  # the last: by a timeout around us
        # Waiting in vain for a connection of our own pool says that we are too many, not that the server is ill.
        crowded = isinstance(error, RedisConnectionError) and isinstance(error.__cause__, TimeoutError)
        if time.monotonic() - started >= SLOW_S and not crowded:
            breaker.failed()
        raise
    breaker.worked()
