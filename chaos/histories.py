"""The histories of an experiment: which user each crowd of clients has, and what was called and answered."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chaos.http import Answer
from chaos.linearizability import Call, Operation, Result

# A crowd takes a new user after so many calls, or after so many whose result nobody knows. The time of the check grows
# with both.
MOST_CALLS, MOST_UNKNOWN = 250, 4
AWAY, THROTTLED = 503, 429

# An access token and a refresh token.
Pair = tuple[str, str]


@dataclass
class Session:
    """A session as its clients know it. pairs: all its tokens, the newest last. over: somebody ends it."""

    handle: str
    pairs: list[Pair]
    over: bool = False


@dataclass
class Account:
    """The user of a crowd. suspended: as far as its clients know. calls: so far; unknown: without a known result."""

    sub: str
    username: str
    password: str
    sessions: list[Session] = field(default_factory=list)
    suspended: bool = False
    roles: int = 0
    calls: int = 0
    unknown: int = 0

    @property
    def worn_out(self) -> bool:
        return self.calls >= MOST_CALLS or self.unknown >= MOST_UNKNOWN

    def end_sessions(self) -> None:
        for session in self.sessions:
            session.over = True


@dataclass(frozen=True)
class Request:
    """What `Http.call` takes."""

    method: str
    path: str
    headers: Mapping[str, str] | None = None
    form: Mapping[str, str] | None = None
    document: Mapping[str, Any] | None = None


@dataclass
class Histories:
    """Records what the clients do.

    surprises: answers that no call may get. secrets: texts that no log may hold. away, unanswered: how many calls got
    a 503, and no answer.
    """

    port: int
    admin: Mapping[str, str]
    operations: list[Operation] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    away: int = 0
    unanswered: int = 0
    ends_everything: bool = True
    stopping: bool = False

    def be_surprised(self, request: Request, answer: Answer | None) -> None:
        """Note an answer that nothing explains. A 503, a 429 and a missing answer explain themselves."""
        if answer is not None and answer.status not in (AWAY, THROTTLED):
            self.surprises.append(f"{request.method} {request.path}: {answer.status} {answer.body[:100]!r}")

    def record(self, user: str, client: int, sent: int, call: Call, result: Result | None) -> None:
        self.operations.append(Operation(user, client, sent, time.monotonic_ns(), call, result))
