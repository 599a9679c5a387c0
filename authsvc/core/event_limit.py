"""How many events a user can cause in the audit trail, which has a bound: a flood of one user must not push out others.

Events that ended a session or changed a password are not counted: each of them took a login or a password hash.
"""

from typing import NamedTuple

from authsvc.core.event import Entry, Event

# Events of one user that one worker keeps in one hour. The log has all of them.
MOST = 100
HOUR_S = 3600
# Users that are counted at the same time in one worker.
_MAX_USERS = 10_000

_UNBOUNDED = frozenset(
    {Event.SESSION_ENDED, Event.TOKEN_REUSED, Event.TOKEN_ISSUED, Event.PASSWORD_CHANGED, Event.PASSWORD_RESET}
)


class LeftOut(NamedTuple):
    """Events of a user that are not in the trail. hour: its beginning, epoch seconds."""

    sub: str
    hour: int
    events: int


class EventLimit:
    """Counts the events that users cause about themselves, in hours of the clock."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], int] = {}

    def admits(self, entry: Entry, now: float) -> bool:
        """Whether the trail keeps this event. Events that another user, a client or the operator caused always stay."""
        sub = entry.sub
        if sub is None or entry.event in _UNBOUNDED or entry.actor not in ("anonymous", f"user:{sub}"):
            return True
        key = sub, int(now) // HOUR_S * HOUR_S
        if key not in self._counts and len(self._counts) >= _MAX_USERS:
            self._counts = {held: count for held, count in self._counts.items() if count > MOST}
            if len(self._counts) >= _MAX_USERS:  # that many users above the bound had as many logins
                return True
        self._counts[key] = count = self._counts.get(key, 0) + 1
        return count <= MOST

    def left_out(self, until: float) -> list[LeftOut]:
        """The users of whom events were left out in the hours that have ended by then. They are told once."""
        ended = [key for key in self._counts if key[1] + HOUR_S <= until]
        found = [(key, self._counts.pop(key)) for key in ended]
        return [LeftOut(sub, hour, count - MOST) for (sub, hour), count in found if count > MOST]
