"""A user and the credentials of a user: what is true about a person right now."""

import re
from typing import Any, Final, Literal, Self

import msgspec

from authsvc.core.record import Record, raised
from authsvc.core.username import normalise
from authsvc.errors import InvalidRequest

ADMIN_ROLE = "admin"
Status = Literal["active", "suspended"]

# No braces (they would choose the hash slot), no space, nothing that needs escaping in a header or a shell glob.
SUB: Final = re.compile(r"[A-Za-z0-9._~:@|+=/-]{1,255}")
_ROLE = re.compile(r"[A-Za-z0-9._:/-]{1,64}")
_MAX_ROLES = 64
_MAX_CLAIMS = 4096


class User(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Whom tokens speak for. Times: `created_at` in epoch seconds, `epoch` in milliseconds.

    spared: handle of the one session that the last raising of the epoch left alive (its owner ended all the others).
    renaming_to: a name that is being taken; the login index entry for it counts as this user's own meanwhile.
    """

    sub: str
    username: str | None = None
    status: Status = "active"
    roles: tuple[str, ...] = ()
    claims: dict[str, Any] = {}  # noqa: RUF012 - msgspec makes a new one each time
    epoch: int
    spared: str | None = None
    version: int = 1
    created_at: int
    renaming_to: str | None = None

    def changed(self, **changes: Any) -> Self:
        """The user after a change that introspection shows; raises the version."""
        return self.but(version=self.version + 1, **changes)

    def cut_off(self, now: float, *, sparing: str | None = None, **changes: Any) -> Self:
        """The user after every session begun so far has ended, but for the one whose handle is spared."""
        return self.changed(epoch=raised(self.epoch, now), spared=sparing, **changes)

    def admits(self, handle: str, epoch: int) -> bool:
        """Whether a session begun at `epoch` has not been cut off since."""
        return epoch == self.epoch or handle == self.spared

    def answers_to(self, canonical_name: str) -> bool:
        """Whether the login index entry for this name is rightly this user's."""
        names = (self.username, self.renaming_to)
        return any(name is not None and normalise(name) == canonical_name for name in names)

    @property
    def is_admin(self) -> bool:
        return self.status == "active" and ADMIN_ROLE in self.roles


class Credentials(Record, frozen=True, kw_only=True, omit_defaults=True):
    """How a user proves to be one. `hash`: argon2id in PHC form, None until a first password is set; an imported
    one is in the form of its maker (`core/imported_hash.py`) until its owner logs in.

    reset_code: handle of the one reset code that is outstanding; using it and setting the password are one write.
    """

    hash: str | None = None
    changed_at: int = 0
    reset_code: str | None = None

    # Each transition keeps everything else that the record holds, such as other ways to prove who one is.

    def with_password(self, hashed: str, now: float) -> Self:
        """The credentials after a new password was set. An outstanding reset code stops working."""
        return self.but(hash=hashed, changed_at=int(now), reset_code=None)

    def without_password(self, now: float) -> Self:
        """The credentials without a password. The reset code goes too: whoever knew the password may know the code."""
        return self.but(hash=None, changed_at=int(now), reset_code=None)

    def with_reset_code(self, handle: str) -> Self:
        """The credentials with this reset code outstanding; an earlier one stops working."""
        return self.but(reset_code=handle)

    def rehashed(self, old: str, new: str) -> Self:
        """The same password under a better hash; unchanged if the password is not the one of `old` any more."""
        return self.but(hash=new) if self.hash == old else self


class ResetCode(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A one-time password reset code, by its handle. by_admin: it may set the password of an admin."""

    sub: str
    digest: str
    until: int
    by_admin: bool = False

    def expires_at(self) -> int:
        return self.until


def check_sub(sub: str) -> str:
    """Return a subject that is fit for keys and headers; raises InvalidRequest."""
    if not SUB.fullmatch(sub):
        raise InvalidRequest("sub: 1 to 255 of A-Z a-z 0-9 . _ ~ : @ | + = / -")
    return sub


def check_roles(roles: tuple[str, ...]) -> tuple[str, ...]:
    """Return the roles without repetitions; raises InvalidRequest."""
    if len(roles) > _MAX_ROLES or not all(_ROLE.fullmatch(role) for role in roles):
        raise InvalidRequest("roles: at most 64, each 1 to 64 of A-Z a-z 0-9 . _ : / -")
    return tuple(dict.fromkeys(roles))


def check_claims(claims: dict[str, Any] | None) -> None:
    """Raises InvalidRequest if there is too much of them: they are read and sent with every introspection."""
    if claims and len(msgspec.json.encode(claims)) > _MAX_CLAIMS:
        raise InvalidRequest(f"claims: at most {_MAX_CLAIMS} bytes of JSON")
