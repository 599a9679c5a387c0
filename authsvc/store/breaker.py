"""Not asking a server that does not answer: an outage costs each request milliseconds, after the first have waited.

Own code: pybreaker knows asynchronous calls through Tornado only and redis-py's own is a part of switching between
databases; here nothing is to be switched, and what counts as a failure is ours to say.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from authsvc.errors import StoreUnavailable

# It opens when this many calls failed within the window, and at least every second one.
MIN_FAILURES = 5
WINDOW_S = 5.0
# While it is open, one call in this time is let through to see.
PROBE_S = 0.5
# A call that fails in less time costs nobody much, or had no more: a closed door, an empty pool, a hurried request.
SLOW_S = 0.3


class Breaker:
    """Tells whether to try. Only what cost time counts as a failure."""

    def __init__(self) -> None:
        self._open = False
        self._calls = 0
        self._failures = 0
        self._since = 0.0  # the first failure of the present window
        self._probe_at = 0.0

    def admit(self) -> None:
        """Raise StoreUnavailable if there is no point in trying now."""
        if self._open:
            now = time.monotonic()
            if now < self._probe_at:
                raise StoreUnavailable("it did not answer a moment ago")
            self._probe_at = now + PROBE_S

    def worked(self) -> None:
        self._calls += 1
        if self._open:
            self._open = False
            self._calls = self._failures = 0

    def failed(self) -> None:
        now = time.monotonic()
        if now - self._since > WINDOW_S:
            self._since, self._calls, self._failures = now, 0, 0
        self._calls += 1
        self._failures += 1
        if not self._open and self._failures >= MIN_FAILURES and 2 * self._failures >= self._calls:
            self._open = True
            self._probe_at = now + PROBE_S


@contextmanager
def timed(breaker: Breaker) -> Iterator[None]:
    """Raise StoreUnavailable instead of doing what is inside, if the breaker is open; else tell it how that went."""
    breaker.admit()
    started = time.monotonic()
    try:
        yield
    except (RedisError, OSError, TimeoutError, asyncio.CancelledError):  # the last: by a timeout around us
        if time.monotonic() - started >= SLOW_S:
            breaker.failed()
        raise
    breaker.worked()
