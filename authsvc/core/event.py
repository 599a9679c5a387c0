"""The audit trail's vocabulary: every event, what each one ends, and the entry that records one."""

import re
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

import msgspec

from authsvc.core import token as tokens
from authsvc.errors import InvalidRequest

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
# Why somebody did something, for people who read the trail.
COMMENT: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,500}")

# An entry keeps this much of a user agent. Browsers name themselves at the end, an iPhone's after 137 characters.
MAX_USER_AGENT: Final = 200

# The scope of an event that ends sessions: one session, or all of a user, a client or the service, or a user's keys.
Ends = Literal["session", "user", "keys", "client", "service"]


class Event(StrEnum):
    """The events of the audit trail. The first word names the thing, and the rest what happened to it.

    docs/logs.md describes each event. Other programs store these names, so a name never changes its meaning.
    """

    AUDIT_LEFT_OUT = "audit.left_out"
    CLIENT_CHANGED = "client.changed"
    CLIENT_CREATED = "client.created"
    CLIENT_CUT_OFF = "client.cut_off"
    CLIENT_DELETED = "client.deleted"
    CLIENT_REFUSED = "client.refused"
    CLIENT_SECRET_ROTATED = "client.secret_rotated"
    DEVICE_TRUSTED = "device.trusted"
    FACTOR_ADDED = "factor.added"
    FACTOR_CODES_REPLACED = "factor.codes_replaced"
    FACTOR_FAILED = "factor.failed"
    FACTOR_KEYS_FORGOTTEN = "factor.keys_forgotten"
    FACTOR_REMOVED = "factor.removed"
    FACTOR_THROTTLED = "factor.throttled"
    FACTORS_IMPORTED = "factors.imported"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    KEY_ROTATED = "key.rotated"
    KEYS_IMPORTED = "keys.imported"
    LOGIN_FAILED = "login.failed"
    LOGIN_PENDING = "login.pending"
    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_THROTTLED = "login.throttled"
    PASSWORD_CHANGE_FAILED = "password.change.failed"
    PASSWORD_CHANGE_THROTTLED = "password.change.throttled"
    PASSWORD_CHANGED = "password.changed"
    PASSWORD_RESET = "password.reset"
    PASSWORD_RESET_CODE = "password.reset_code"
    PASSWORD_RESET_REQUIRED = "password.reset_required"
    SERVICE_CUT_OFF = "service.cut_off"
    SERVICE_FORMAT_RAISED = "service.format_raised"
    SERVICE_STARTED_FIRST = "service.started_first"
    SESSION_ENDED = "session.ended"
    SESSION_STEPPED_UP = "session.stepped_up"
    TOKEN_EXCHANGED = "token.exchanged"
    TOKEN_ISSUED = "token.issued"
    TOKEN_LEAKED = "token.leaked"
    TOKEN_REFRESHED = "token.refreshed"
    TOKEN_REPEATED = "token.repeated"
    TOKEN_REUSED = "token.reused"
    TOKEN_REVOKED = "token.revoked"
    USER_CHANGED = "user.changed"
    USER_CREATED = "user.created"
    USER_CUT_OFF = "user.cut_off"
    USER_DELETED = "user.deleted"
    USER_KEYS_CUT_OFF = "user.keys_cut_off"
    USER_REINSTATED = "user.reinstated"
    USER_SUSPENDED = "user.suspended"
    USER_UNLOCKED = "user.unlocked"
    USERS_EXPORTED = "users.exported"
    USERS_IMPORTED = "users.imported"
    USERS_IMPORT_STARTED = "users.import_started"

    @property
    def ends(self) -> Ends | None:
        """The sessions that this event ends when it succeeds; None if it ends none."""
        return _ENDS.get(self)


# The first words of events. Each stands for all events that begin with it.
KINDS: Final = tuple(sorted({event.partition(".")[0] for event in Event}))

_ENDS: dict[str, Ends] = {
    Event.SESSION_ENDED: "session",
    Event.KEY_REVOKED: "session",
    Event.TOKEN_LEAKED: "session",
    Event.TOKEN_REUSED: "session",
    Event.PASSWORD_CHANGED: "user",
    Event.PASSWORD_RESET: "user",
    Event.PASSWORD_RESET_REQUIRED: "user",
    Event.USER_CUT_OFF: "user",
    Event.USER_DELETED: "user",
    Event.USER_SUSPENDED: "user",
    Event.USER_KEYS_CUT_OFF: "keys",
    Event.CLIENT_CUT_OFF: "client",
    Event.CLIENT_DELETED: "client",
    Event.SERVICE_CUT_OFF: "service",
}


def ends(event: str) -> Ends | None:
    """Like `Event.ends`, for the name of an event in the trail. Unknown events end nothing."""
    return _ENDS.get(event)


def check_comment(text: str) -> str:
    """Return a comment that is fit for the trail. Raises InvalidRequest: the trail holds no secret."""
    if not COMMENT.fullmatch(text) or _SURROGATE.search(text):
        raise InvalidRequest("comment: 1 to 500 characters in one line")
    if tokens.PREFIX.search(text):
        raise InvalidRequest("comment: holds a token or a part of one; the audit trail must not")
    return text


class About(NamedTuple):
    """The subject of an event. A member is None if the event does not concern a user, a session or a client."""

    sub: str | None = None
    session_id: str | None = None
    client_id: str | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of one event. It holds ids only, never a token nor a name that somebody typed, beside a comment.

    An entry is never changed. So it needs no format and keeps no unknown members, unlike a `Record`.
    event: a value of `Event`, or the name of an event of a newer version.
    outcome: `success`, `failure`, or `unsure` if the change was made but may be lost in a failover.
    comment: why an admin did it, in the admin's words.
    """

    event: str
    actor: str
    outcome: str = "success"
    sub: str | None = None
    session_id: str | None = None
    client_id: str | None = None
    reason: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    comment: str | None = None
    details: dict[str, Any] | None = None
