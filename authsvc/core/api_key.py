"""A key: a session that a program holds. It has no refresh token and no idle end, and it survives logins and logouts.

Its name is the session's `device`. Its `ip` and `used_at` are those of its last use, and `epochs.user` is the epoch of
the user's keys.
"""

from dataclasses import dataclass
from typing import Final

from authsvc.core import token as tokens
from authsvc.core.client import Lifetimes
from authsvc.core.grace import Previous
from authsvc.core.session import KEY, Epochs, Session
from authsvc.core.token import Kind, Token, is_same_digest

# In seconds.
DEFAULT_LIFE_S: Final = 90 * 86400
MAX_LIFE_S: Final = 365 * 86400
# How long before its end a key is shown as expiring.
WARNED_S: Final = 14 * 86400
# How long the secret before a rotation may stay valid.
DEFAULT_OVERLAP_S: Final = 86400
MAX_OVERLAP_S: Final = 30 * 86400
# Of one user.
MAX_KEYS: Final = 10_000
MAX_NETWORKS: Final = 16
# A key that was never used. The first use is written down at once.
_NEVER: Final = 0


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a new key. life_s: in seconds. networks: where it may be used from; empty: anywhere."""

    name: str
    scope: str
    aud: tuple[str, ...]
    life_s: int
    networks: tuple[str, ...] = ()


def new_token(word: str, handle: str | None = None) -> Token:
    """Make the text of a key, of a new one or of the one with this handle. word: AUTHSVC_KEY_PREFIX."""
    return tokens.new(Kind.KEY, handle, word)


def begun(digest: str, contents: Contents, sub: str, client_id: str, epochs: Epochs, now: float) -> Session:
    """The record of a new key. digest: of its text. client_id: the client whose cut-off ends the key.

    epochs: from when the caller was found to be entitled. A cut-off since then ends the key.
    """
    return Session(
        sub=sub,
        client_id=client_id,
        scope=contents.scope,
        aud=contents.aud,
        origin=KEY,
        device=contents.name,
        networks=contents.networks,
        created_ms=int(now * 1000),
        lifetimes=Lifetimes(access=contents.life_s, idle=0, session=contents.life_s),
        epochs=epochs,
        access=digest,
        used_at=_NEVER,
    )


def rotated(session: Session, digest: str, now: float, overlap_s: int) -> Session:
    """The key with another secret. The secret until now stays valid for the overlap; an earlier one stops at once."""
    until = min(int(now) + overlap_s, session.end)
    previous = Previous(access=session.access, refresh="", until=until, access_until=until, answered=True)
    return session.but(access=digest, issued_at=int(now), previous=previous if overlap_s else None)


def is_former(session: Session, token: Token) -> bool:
    """Whether this is the text of the key from before its last rotation. It may be good no more."""
    previous = session.previous
    return session.origin == KEY and previous is not None and is_same_digest(previous.access, token.digest)


def without_former(session: Session) -> Session:
    """The key whose text from before its last rotation stopped working."""
    return session.but(previous=None)


def last_used_at(session: Session) -> int | None:
    """The last use that was written down, in epoch seconds; None: a key that was never used.

    A use of a key within an hour of the last one is not written down.
    """
    return None if session.used_at == _NEVER else session.seen


def is_expiring(session: Session, now: float) -> bool:
    """Whether the key ends soon, so that its holder should make another one."""
    return session.end - now < WARNED_S
