"""How many events others than admins can cause in the audit trail, which has a bound: no flood may push out the rest.

The log has all of them.
"""

from typing import NamedTuple

from authsvc.core.event import Entry, Event

# How many events one worker keeps in one hour. MOST: of one caller about one user. MOST_ABOUT_NOBODY: about no user,
# such as logins with invented names.
MOST = 100
MOST_ABOUT_NOBODY = 1000
HOUR_S = 3600
# Callers and users that are counted at the same time in one worker.
_MAX_COUNTS = 10_000

# What a client causes for its users. Every holder of a session repeats refreshes, through the built-in client.
_OF_CLIENTS = frozenset({Event.TOKEN_ISSUED, Event.TOKEN_REPEATED})
# Each of these took a login, a password hash or a reset code when it succeeded.
_COSTLY = frozenset({Event.SESSION_ENDED, Event.TOKEN_REUSED, Event.PASSWORD_CHANGED, Event.PASSWORD_RESET})
TOO_MANY_SESSIONS = "too many sessions"

# The actor, the user, and the beginning of the hour in epoch seconds.
Key = tuple[str, str | None, int]


class LeftOut(NamedTuple):
    """Events that are not in the trail. hour: its beginning, epoch seconds. sub: None if they are about nobody."""

    actor: str
    sub: str | None
    hour: int
    events: int


class EventLimit:
    """Counts the events that users, strangers and issuing clients cause, in hours of the clock."""

    def __init__(self) -> None:
        self._counts: dict[Key, int] = {}

    def admits(self, entry: Entry, now: float) -> bool:
        """Whether the trail keeps this event, which ended nothing."""
        if not _is_bounded(entry):
            return True
        key = entry.actor, entry.sub, int(now) // HOUR_S * HOUR_S
        if key not in self._counts and len(self._counts) >= _MAX_COUNTS:
            self._counts = {held: count for held, count in self._counts.items() if count > _most(held)}
            if len(self._counts) >= _MAX_COUNTS:  # that many users above the bound had as many logins
                return True
        self._counts[key] = count = self._counts.get(key, 0) + 1
        return count <= _most(key)

    def left_out(self, until: float) -> list[LeftOut]:
        """The events that were left out in hours that ended before `until`. Each is returned once."""
        ended = [key for key in self._counts if key[2] + HOUR_S <= until]
        found = [(key, self._counts.pop(key) - _most(key)) for key in ended]
        return [LeftOut(*key, events) for key, events in found if events > 0]


def _most(key: Key) -> int:
    return MOST_ABOUT_NOBODY if key[1] is None else MOST


def _is_bounded(entry: Entry) -> bool:
    """Whether somebody can cause such an event again and again at no cost. Admins and the operator are trusted."""
    if entry.actor.startswith("client:"):
        return entry.event in _OF_CLIENTS or entry.reason == TOO_MANY_SESSIONS
    if entry.actor not in ("anonymous", f"user:{entry.sub}"):
        return False
    return entry.event not in _COSTLY or (entry.event == Event.PASSWORD_RESET and entry.outcome == "failure")
