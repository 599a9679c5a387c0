"""An estimate of the service's clock, which converts its deadlines to our clock."""

from math import inf

# `Date` has whole seconds, and servers renew it once a second.
_SLACK_S = 2.0
_MAX_AGE_S = 600.0


class ServerClock:
    """Estimates from the `Date` of answers how far the service's clock is ahead of ours, and never estimates too much.

    A `Date` is older than its answer if the server was stopped in between. So the largest estimate of the last ten
    minutes counts. Older estimates do not count, because an operator may set the service's clock back.
    """

    def __init__(self) -> None:
        self._ahead, self._since = -inf, -inf

    def observe(self, date: float, received_at: float) -> None:
        """Take note of an answer with this `Date`, received at this moment of our clock."""
        ahead = date - received_at
        if ahead >= self._ahead or received_at > self._since + _MAX_AGE_S:
            self._ahead, self._since = ahead, received_at

    def ours(self, at: int, took_s: float) -> float:
        """Convert a moment that an answer names to our clock. The result may be too early, never too late.

        took_s: the time between request and response. The service answered at some moment in between.
        """
        return at - self._ahead - took_s - _SLACK_S
