"""Which counters an event of the audit trail raises."""

from collections.abc import Iterator
from typing import NamedTuple

from authsvc.core.event import Event
from authsvc.core.leak import ENDING


class Count(NamedTuple):
    """One step of a counter, with the values of its labels in the order of the family."""

    family: str
    labels: tuple[str, ...] = ()


# Counted once for each event, whatever its outcome.
_COUNTS: dict[Event, tuple[Count, ...]] = {
    Event.FACTOR_FAILED: (Count("factors_refused", ("failed",)),),
    Event.FACTOR_THROTTLED: (Count("factors_refused", ("throttled",)),),
    Event.LOGIN_SUCCEEDED: (Count("sessions_issued", ("login",)), Count("passwords_checked", ("login", "succeeded"))),
    Event.LOGIN_FAILED: (Count("passwords_checked", ("login", "failed")),),
    Event.LOGIN_THROTTLED: (Count("passwords_checked", ("login", "throttled")),),
    Event.PASSWORD_CHANGED: (Count("passwords_checked", ("password_change", "succeeded")),),
    Event.PASSWORD_CHANGE_FAILED: (Count("passwords_checked", ("password_change", "failed")),),
    Event.PASSWORD_CHANGE_THROTTLED: (Count("passwords_checked", ("password_change", "throttled")),),
    Event.KEY_CREATED: (Count("sessions_issued", ("key",)),),
    Event.TOKEN_EXCHANGED: (Count("tokens_exchanged"),),
    Event.TOKEN_REFRESHED: (Count("sessions_refreshed"),),
    Event.TOKEN_REPEATED: (Count("refresh_repeats"),),
    Event.TOKEN_REUSED: (Count("refresh_reuse"), Count("sessions_ended", ("reuse",))),
}

# Events that end all sessions of a user, a client or the service by one write, and their label `cause`.
_CUT_OFF_CAUSES: dict[Event, str] = {
    Event.USER_CUT_OFF: "cut_off",
    Event.USER_SUSPENDED: "suspended",
    Event.USER_KEYS_CUT_OFF: "cut_off",
    Event.USER_DELETED: "deleted",
    Event.PASSWORD_CHANGED: "password",
    Event.PASSWORD_RESET: "password",
    Event.PASSWORD_RESET_REQUIRED: "password",
    Event.CLIENT_CUT_OFF: "cut_off",
    Event.CLIENT_DELETED: "deleted",
    Event.SERVICE_CUT_OFF: "cut_off",
}


def counts_of(event: Event, outcome: str, reason: str | None, token_use: str | None = None) -> Iterator[Count]:
    """The counters to raise.

    reason: of the end of one session the cause in words, of a leak the kind of token.
    token_use: of an issued token "client" if it speaks for its client, None if it speaks for a user.
    """
    yield from _COUNTS.get(event, ())
    if event is Event.TOKEN_ISSUED:
        yield Count("sessions_issued", (token_use or "issue",))
    elif event is Event.TOKEN_LEAKED:
        yield Count("tokens_leaked", (reason or "",))
        if reason in ENDING:
            yield Count("sessions_ended", ("leaked",))
    elif event in (Event.SESSION_ENDED, Event.KEY_REVOKED):
        yield Count("sessions_ended", ((reason or "").replace(" ", "_"),))
    elif event in _CUT_OFF_CAUSES and outcome == "success":
        yield Count("cut_offs", (event.ends or "", _CUT_OFF_CAUSES[event]))
