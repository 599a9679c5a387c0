"""A circuit breaker: while a server does not answer, calls to it fail at once instead of waiting.

pybreaker supports asynchronous calls through Tornado only, and redis-py's own breaker belongs to its switching between
databases. Here nothing is switched, and only calls that took time count as failures.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import ConnectionError as RedisConnectionError

from authsvc.driver.errors import DRIVER_ERRORS
from authsvc.errors import StoreUnavailable
from authsvc.metrics import Metrics

# The breaker opens when this many calls, and at least half of all calls, failed within the window.
MIN_FAILURES = 5
WINDOW_S = 5.0
# While the breaker is open, one call in this time passes, to see whether the server answers.
PROBE_S = 0.5
# A call that fails faster does not count: the server refused it at once, or its request had little time left.
SLOW_S = 0.3


class Breaker:
    """Counts failures, and refuses calls while it is open. Only calls that took time count as failures.

    good_until: on the monotonic clock, until when the server may be used. After that the breaker refuses all calls.
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
        """Raise StoreUnavailable if the server should not be asked now."""
        if now > self.good_until:
            self._metrics.store_errors.add("not_primary")
            raise StoreUnavailable("neither sentinels nor replicas say that the server is the primary")
        if self._open:
            if now < self._probe_at:
                self._metrics.store_errors.add("breaker_open")
                raise StoreUnavailable("the store did not answer a moment ago")
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
    """Tell the breaker how a call went. Raises StoreUnavailable, without the call, while the breaker is open."""
    started = time.monotonic()
    breaker.admit(started)
    try:
        yield
    except (*DRIVER_ERRORS, asyncio.CancelledError) as error:  # a timeout around the call cancels it
        # A wait for a connection of our own pool says that we have too many calls, not that the server is ill.
        crowded = isinstance(error, RedisConnectionError) and isinstance(error.__cause__, TimeoutError)
        if time.monotonic() - started >= SLOW_S and not crowded:
            breaker.failed()
        raise
    breaker.worked()
