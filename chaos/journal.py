"""The journal of one experiment: every call that was made, when, and what came of it; one JSON line each."""

from hashlib import sha256
from pathlib import Path

import msgspec

from authsvc.core.token import HANDLE_LENGTH

# What the status of a call is that got no answer at all.
UNANSWERED = 0


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What matters of an answer. `access`, `refresh`: names of the tokens given out; `session`: a handle."""

    active: bool | None = None
    sub: str | None = None
    username: str | None = None
    session: str | None = None
    access: str | None = None
    refresh: str | None = None
    expires_in: int | None = None
    error: str | None = None
    retry_after: bool = False


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call. Times: seconds of one monotonic clock.

    kind: login, refresh, introspect, revoke (a session), cut-off (of `sub`, or of everybody), password, other.
    token: the name of the one presented. sub, session: whom and what the caller meant; username: as what it logged in.
    """

    kind: str
    sent: float
    answered: float
    status: int
    sub: str | None = None
    username: str | None = None
    session: str | None = None
    token: str | None = None
    result: Result = Result()
    note: str | None = None


class Journal:
    """Calls in the order of their answers, in memory and in a file."""

    def __init__(self, file: Path) -> None:
        self.calls: list[Call] = []
        self._file = file.open("wb")

    def add(self, call: Call) -> Call:
        self.calls.append(call)
        self._file.write(msgspec.json.encode(call) + b"\n")
        return call

    def close(self) -> None:
        self._file.close()


def name_of(token: str) -> str:
    """What a token is called in the journal: its kind and handle, which are public, and a short digest."""
    return f"{token[: 4 + HANDLE_LENGTH]}-{sha256(token.encode()).hexdigest()[:8]}"


def handle_in(name: str) -> str:
    return name[4 : 4 + HANDLE_LENGTH]
