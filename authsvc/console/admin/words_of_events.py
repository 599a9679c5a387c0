"""The events of the audit trail in words."""

from typing import Final

from authsvc.console.words import detail
from authsvc.core.event import Entry, Event

# Of events that a person may not know by their names. `user.created` and the like say it themselves.
WORDS: Final[dict[str, str]] = {
    Event.AUDIT_LEFT_OUT: "Events were left out of the trail in a flood",
    Event.CLIENT_CUT_OFF: "Every session of a client was ended",
    Event.CLIENT_REFUSED: "A client had a wrong secret",
    Event.FACTOR_CODES_REPLACED: "New recovery codes were made",
    Event.FACTOR_FAILED: "A wrong second factor",
    Event.FACTOR_KEYS_FORGOTTEN: "Factor keys were given up",
    Event.FACTOR_THROTTLED: "Too many wrong second factors",
    Event.LOGIN_FAILED: "A wrong name or password",
    Event.LOGIN_PENDING: "A right password, waiting for the second factor",
    Event.LOGIN_SUCCEEDED: "Logged in",
    Event.LOGIN_THROTTLED: "Too many wrong passwords",
    Event.PASSWORD_CHANGE_FAILED: "A wrong current password",
    Event.PASSWORD_CHANGE_THROTTLED: "Too many wrong current passwords",
    Event.PASSWORD_RESET: "A password was set with a reset code",
    Event.PASSWORD_RESET_CODE: "A reset code was made",
    Event.PASSWORD_RESET_REQUIRED: "A password was taken away",
    Event.SERVICE_CUT_OFF: "Every session of everybody was ended",
    Event.SERVICE_FORMAT_RAISED: "The format of the store was raised",
    Event.SERVICE_STARTED_FIRST: "The service started for the first time",
    Event.SESSION_ENDED: "A session ended",
    Event.SESSION_STEPPED_UP: "Proved again who it is",
    Event.TOKEN_ISSUED: "A client issued a token",
    Event.TOKEN_REFRESHED: "A token was refreshed",
    Event.TOKEN_REPEATED: "A refresh was repeated after a lost answer",
    Event.TOKEN_REUSED: "A spent refresh token came back: the session was ended",
    Event.USER_CUT_OFF: "Every session of a user was ended",
}

# The events that refuse somebody, by what was wrong.
REFUSALS: Final[dict[str, str]] = {
    Event.LOGIN_FAILED: "wrong name or password",
    Event.LOGIN_THROTTLED: "too many wrong passwords",
    Event.FACTOR_FAILED: "wrong second factor",
    Event.FACTOR_THROTTLED: "too many wrong second factors",
    Event.CLIENT_REFUSED: "wrong client secret",
    Event.PASSWORD_CHANGE_FAILED: "wrong current password",
    Event.PASSWORD_RESET: "wrong reset code",
    Event.TOKEN_REUSED: "spent refresh token",
}


# The events that may change one thing or another. Their details name the fields.
_CHANGES: Final = (Event.USER_CHANGED, Event.CLIENT_CHANGED)


def in_words(event: str) -> str:
    """The event as a sentence without a full stop: `User suspended`."""
    return WORDS.get(event) or event.replace(".", " ").replace("_", " ").capitalize()


def what_happened(entry: Entry) -> str:
    """The event in words, with the fields that were changed: `User changed: roles`."""
    fields = (entry.details or {}).get("fields") if entry.event in _CHANGES else None
    return f"{in_words(entry.event)}: {detail(fields)}" if fields else in_words(entry.event)


def refuses(event: str, outcome: str) -> bool:
    """Whether the event refused somebody. A reset, for one, is also the name of one that worked."""
    return event in REFUSALS and outcome != "success"
