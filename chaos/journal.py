"""The journal of one experiment: each call with its times and its answer, as one line of JSON."""

from hashlib import sha256
from pathlib import Path

import msgspec

from authsvc.core.token import HANDLE_LENGTH

# The status of a call without an answer.
UNANSWERED = 0


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """The relevant part of an answer. access, refresh: names of the issued tokens. session: a handle."""

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

    kind: one of `login refresh introspect revoke cut-off password other`. `revoke` ends one session; `cut-off` ends all
    sessions of `sub`, or of everybody. token: the name of the presented token. sub, session: the user and the session
    that the caller meant. username: the name of a login.
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
    """The name of a token in the journal: its kind and handle, which are public, and a short digest."""
    return f"{token[: 4 + HANDLE_LENGTH]}-{sha256(token.encode()).hexdigest()[:8]}"


def handle_in(name: str) -> str:
    return name[4 : 4 + HANDLE_LENGTH]
