"""A user, and the credentials of a user."""

import re
from typing import Any, Final, Literal, Self

import msgspec

from authsvc.core.record import Record, raised
from authsvc.core.username import normalise
from authsvc.errors import InvalidRequest

ADMIN_ROLE = "admin"
Status = Literal["active", "suspended"]

# No braces, which would choose the hash slot. No space, and nothing that headers or shells would have to escape.
SUB: Final = re.compile(r"[A-Za-z0-9._~:@|+=/-]{1,255}")
ROLE: Final = re.compile(r"[A-Za-z0-9._:/-]{1,64}")
MAX_ROLES = 64
_MAX_CLAIMS = 4096


class User(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A user, for whom tokens speak. `created_at`: epoch seconds. `epoch`: milliseconds.

    spared: the handle of the one session that the last cut-off left alive.
    created_by: the client that registered this user at `POST /tokens`. None: an admin, an import, or an older version.
    key_epoch: the epoch of the user's keys, in milliseconds. None until the user gets the first key.
    factor_required: whether an operator demands a second factor of this user. Roles may demand one too.
    renaming_to: the new name while a rename is under way. The login index may already hold it for this user.
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
    created_by: str | None = None
    renaming_to: str | None = None
    factor_required: bool = False
    key_epoch: int | None = None

    def changed(self, **changes: Any) -> Self:
        """The user with these changes and a higher version."""
        return self.but(version=self.version + 1, **changes)

    def cut_off(self, now: float, *, sparing: str | None = None, end_keys: bool = False, **changes: Any) -> Self:
        """The user after every session begun so far has ended, except the spared one.

        The keys end too, unless a session is spared: who ends the sessions of other devices goes on, and so do the
        programs. end_keys: the keys end in any case.
        """
        ended = self.changed(epoch=raised(self.epoch, now), spared=sparing, **changes)
        return ended._without_keys(now) if sparing is None or end_keys else ended

    def keys_cut_off(self, now: float) -> Self:
        """The user after every key made so far has ended."""
        return self if self.key_epoch is None else self.changed()._without_keys(now)

    def _without_keys(self, now: float) -> Self:
        return self if self.key_epoch is None else self.but(key_epoch=raised(self.key_epoch, now))

    def with_keys(self) -> Self:
        """The user who is about to get a key.

        The key epoch begins as the user's epoch, so that a user who is deleted and made again revives no key.
        """
        return self if self.key_epoch is not None else self.but(key_epoch=self.epoch)

    def admits(self, handle: str, epoch: int) -> bool:
        """Whether a session begun at `epoch` is not cut off."""
        return epoch == self.epoch or handle == self.spared

    def admits_key(self, epoch: int) -> bool:
        """Whether a key made at `epoch` is not cut off."""
        return epoch == self.key_epoch

    def answers_to(self, canonical_name: str) -> bool:
        """Whether an entry of the login index for this name belongs to this user."""
        names = (self.username, self.renaming_to)
        return any(name is not None and normalise(name) == canonical_name for name in names)

    def admin_entry(self) -> str | None:
        # A suspended admin has the entry too: reinstating gives the power back.
        return f"user:{self.sub}" if ADMIN_ROLE in self.roles else None

    def needs_format(self) -> int:
        # An older version would let the user in with a password alone, or let keys survive the end of all sessions.
        return 3 if self.factor_required or self.key_epoch is not None else 1

    @property
    def is_admin(self) -> bool:
        return self.status == "active" and ADMIN_ROLE in self.roles


class Credentials(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The ways in which a user proves who they are.

    hash: argon2id in PHC form. None until the first password is set. An imported hash keeps its own form
    (`core/imported_hash_text.py`) until the user logs in.
    reset_code: the handle of the one outstanding reset code. Using it and setting the password are one write.
    has_factor: whether a login needs a second factor (`core/factors.py`).
    """

    hidden = Record.hidden | {"hash"}

    hash: str | None = None
    changed_at: int = 0
    reset_code: str | None = None
    has_factor: bool = False

    def needs_format(self) -> int:
        return 3 if self.has_factor else 1  # an older version would let the user in with the password alone

    # Each transition keeps everything else that the record holds.

    def with_password(self, hashed: str, now: float) -> Self:
        """The credentials after a new password was set. An outstanding reset code stops working."""
        return self.but(hash=hashed, changed_at=int(now), reset_code=None)

    def without_password(self, now: float) -> Self:
        """The credentials without a password and without a reset code: a thief of one may have the other."""
        return self.but(hash=None, changed_at=int(now), reset_code=None)

    def with_reset_code(self, handle: str) -> Self:
        """The credentials with this reset code outstanding; an earlier one stops working."""
        return self.but(reset_code=handle)

    def without_reset_code(self) -> Self:
        """The credentials after the outstanding reset code stopped working."""
        return self.but(reset_code=None)

    def rehashed(self, old: str, new: str) -> Self:
        """The same password under a better hash; unchanged if the password is not the one of `old` any more."""
        return self.but(hash=new) if self.hash == old else self


class ResetCode(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A one-time password reset code. by_admin: an admin made it, so it may set the password of a user
    with power over others.
    """

    hidden = Record.hidden | {"digest"}

    sub: str
    digest: str
    until: int
    by_admin: bool = False

    def expires_at(self) -> int:
        return self.until


def check_sub(sub: str) -> str:
    """Return the subject if it is fit for keys and headers. Raises InvalidRequest."""
    if not SUB.fullmatch(sub):
        raise InvalidRequest("sub: 1 to 255 of A-Z a-z 0-9 . _ ~ : @ | + = / -")
    return sub


def check_roles(roles: tuple[str, ...]) -> tuple[str, ...]:
    """Return the roles without repetitions. Raises InvalidRequest."""
    if len(roles) > MAX_ROLES or not all(ROLE.fullmatch(role) for role in roles):
        raise InvalidRequest("roles: at most 64, each 1 to 64 of A-Z a-z 0-9 . _ : / -")
    return tuple(dict.fromkeys(roles))


def check_claims(claims: dict[str, Any] | None) -> None:
    """Raise InvalidRequest if the claims are too large: every introspection reads and sends them."""
    if claims and len(msgspec.json.encode(claims)) > _MAX_CLAIMS:
        raise InvalidRequest(f"claims: at most {_MAX_CLAIMS} bytes of JSON")
