"""A user as another system hands one over: which fields there are, and which values they may have."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from authsvc.core.imported_hash_text import Accepted, accept
from authsvc.core.json_limits import check_json
from authsvc.core.user import Credentials, Status, User, check_claims, check_roles, check_sub
from authsvc.core.username import normalise, trimmed
from authsvc.errors import InvalidRequest

FIELDS: Final = ("username", "password_hash", "roles", "claims", "status", "created_at", "sub")
_DAY_S: Final = 86400


@dataclass(frozen=True, slots=True)
class ImportedUser:
    """A user to create. `canonical`: the username as the index has it, None if there is no username.

    `sub`: None if the service chooses one. Times: epoch seconds.
    """

    canonical: str | None
    username: str | None
    sub: str | None
    accepted: Accepted | None
    roles: tuple[str, ...]
    claims: dict[str, Any]
    status: Status
    created_at: int

    @classmethod
    def of(cls, fields: Mapping[str, Any], now: float) -> "ImportedUser":
        """Check what was handed over. Raises InvalidRequest, which never repeats a value: it may be a hash."""
        username, sub = _text(fields, "username"), _text(fields, "sub")
        if username is None and sub is None:
            raise InvalidRequest("neither username nor sub")
        hash_ = _text(fields, "password_hash")
        if hash_ is not None and username is None:
            raise InvalidRequest("a password without a username to log in with")
        status = _text(fields, "status") or "active"
        if status not in ("active", "suspended"):
            raise InvalidRequest("status: active or suspended")
        return cls(
            canonical=None if username is None else normalise(username),
            username=None if username is None else trimmed(username),
            sub=None if sub is None else check_sub(sub),
            accepted=None if hash_ is None else accept(hash_),
            roles=_roles(fields.get("roles")),
            claims=_claims(fields.get("claims")),
            status="suspended" if status == "suspended" else "active",
            created_at=_time(fields.get("created_at"), now),
        )

    def user(self, sub: str, now: float) -> User:
        # The epoch is the present, whenever the account was made elsewhere: it must be above any that the sub had here.
        return User(
            sub=sub,
            username=self.username,
            status=self.status,
            roles=self.roles,
            claims=self.claims,
            epoch=int(now * 1000),
            created_at=self.created_at,
        )

    def credentials(self, now: float) -> Credentials:
        return Credentials(hash=self.accepted.text if self.accepted else None, changed_at=int(now))


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidRequest(f"{name}: not a text")
    return value


def _roles(value: Any) -> tuple[str, ...]:
    """A list, or words with spaces, commas or semicolons between, as a table has them."""
    if isinstance(value, str):
        value = value.replace(",", " ").replace(";", " ").split()
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(role, str) for role in value):
        raise InvalidRequest("roles: not a list of texts")
    return check_roles(tuple(value))


def _claims(value: Any) -> dict[str, Any]:
    """An object, or the JSON of one, as a table has it."""
    if isinstance(value, str) and value:
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise InvalidRequest("claims: not JSON") from None
    if not value:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest("claims: not an object")
    check_json(value, "the claims' JSON")
    check_claims(value)
    return value


def _time(value: Any, now: float) -> int:
    """Epoch seconds or ISO 8601, which is UTC if it does not say; None is now."""
    if value is None or value == "":
        return int(now)
    try:
        if isinstance(value, str) and not value.isdecimal():
            at = datetime.fromisoformat(value)
            seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            seconds = float(value)
        else:
            raise InvalidRequest("created_at: not a time")
        if 0 <= seconds <= now + _DAY_S:
            return int(seconds)
    except (ValueError, OverflowError):
        raise InvalidRequest("created_at: neither epoch seconds nor ISO 8601") from None
    raise InvalidRequest("created_at: not a time of the past")
