"""The service's clock as seen from here, so that the moments it names can be measured with a clock of ours."""

from math import inf

# `Date` has whole seconds, and servers compute it once a second.
_SLACK_S = 2.0
_BELIEVED_S = 600.0


class ServerClock:
    """Learns from the `Date` of answers by how much the service's clock is ahead of ours, never too much.

    A `Date` can be older than its answer, where a server was stopped and woke up; so the best of the last ten minutes
    counts. Not of all time, as a service's clock may be set back.
    """

    def __init__(self) -> None:
        self._ahead = -inf
        self._since = -inf

    def observe(self, date: float, heard_at: float) -> None:
        """An answer of this date arrived at this moment of our clock."""
        ahead = date - heard_at
        if ahead >= self._ahead or heard_at > self._since + _BELIEVED_S:
            self._ahead, self._since = ahead, heard_at

    def ours(self, at: int, took_s: float) -> float:
        """A moment that an answer names, in our clock: rather too early than too late.

        took_s: how long question and answer were under way; the answer was given somewhere in between.
        """
        return at - self._ahead - took_s - _SLACK_S
