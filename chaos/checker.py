"""Replays a journal and reports the promises that were broken.

The checker judges answers only. Calls that overlap may have happened in either order: if some order explains an answer,
the answer breaks no promise.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.journal import UNANSWERED, Call, handle_in

INVARIANTS = {
    "Inv1": "no token is active after its revocation was acknowledged",
    "Inv2": "no answer carries another subject's data",
    "Inv3": "every token acknowledged as issued is active until it is revoked, spent or expired",
    "Inv4": "a session has at most one live refresh token, and introspection never accepts one",
    "Inv5": "no error of the server but 503, and that with Retry-After",
    "Inv6": "no secret in any log",
}


@dataclass(frozen=True)
class Violation:
    """A promise that was broken: an invariant, or a criterion of one experiment."""

    code: str
    text: str


@dataclass
class _Session:
    """One session, as the journal tells it. A time is infinite if the event never happened.

    ending: when the first call was sent that may have ended the session. ended: when the first such call was
    acknowledged.
    """

    sub: str | None
    sent: float
    answered: float
    ending: float = math.inf
    ended: float = math.inf


@dataclass
class _Token:
    """A token that was issued. superseded: when the first call was sent that may have replaced it."""

    issued: float
    expires: float
    superseded: float = math.inf
    partner: str | None = None


class _Replay:
    """Reads the calls twice: first to learn what happened, then to find wrong answers."""

    def __init__(self, calls: Sequence[Call], grace_s: float) -> None:
        self._calls = sorted(calls, key=lambda call: call.sent)
        self._grace_s = grace_s
        self._sessions: dict[str, _Session] = {}
        self._tokens: dict[str, _Token] = {}
        self._first_presented: dict[str, float] = {}
        self._successors: dict[str, set[str]] = defaultdict(set)
        self._presentations: dict[str, list[Call]] = defaultdict(list)
        self.violations: list[Violation] = []

    def run(self) -> list[Violation]:
        self._collect()
        for call in self._calls:
            self._judge(call)
        for token, successors in self._successors.items():
            if len(successors) > 1:
                self._found("Inv4", f"{token} was exchanged for {len(successors)} different refresh tokens")
        return self.violations

    def _collect(self) -> None:
        for call in self._calls:
            if call.kind in ("login", "refresh", "password") and call.status == 200:
                self._given_out(call)
        for call in self._calls:
            if call.kind == "refresh" and call.token:
                self._presented(call, call.token)
        for call in self._calls:
            if call.kind == "revoke" and call.session in self._sessions:
                self._end(self._sessions[call.session], call)
            elif call.kind == "cut-off":
                self._cut_off(call)
            elif call.kind == "password":
                self._password_changed(call)

    def _given_out(self, call: Call) -> None:
        result = call.result
        if result.session is None or result.access is None:
            self._found("Inv2", f"a {call.kind} was answered 200 without a session or a token")
            return
        self._sessions.setdefault(result.session, _Session(call.sub, call.sent, call.answered))
        expires = call.answered + (result.expires_in if result.expires_in is not None else math.inf) - 2
        self._tokens.setdefault(result.access, _Token(call.answered, expires, partner=result.refresh))
        if result.refresh is not None:
            self._tokens.setdefault(result.refresh, _Token(call.answered, math.inf))

    def _presented(self, call: Call, token: str) -> None:
        first = self._first_presented.setdefault(token, call.sent)
        if call.status == 200 and call.result.refresh is not None:
            self._successors[token].add(call.result.refresh)
        self._presentations[handle_in(token)].append(call)
        if token in self._tokens:
            self._tokens[token].superseded = min(self._tokens[token].superseded, call.sent)
        if self._may_be_reuse(token, first, call) and handle_in(token) in self._sessions:
            session = self._sessions[handle_in(token)]
            session.ending = min(session.ending, call.sent)

    def _may_be_reuse(self, token: str, first: float, call: Call) -> bool:
        late = call.answered > first + self._grace_s
        overtaken = any(
            self._first_presented.get(successor, math.inf) < call.answered for successor in self._successors[token]
        )
        return late or overtaken

    def _cut_off(self, call: Call) -> None:
        """End the sessions of a cut-off.

        A session must end if its login was answered before the cut-off was sent. A session may end if its login was
        sent before the cut-off was answered.
        """
        for session in self._sessions.values():
            if call.sub is not None and session.sub != call.sub:
                continue
            if session.answered < call.sent:
                self._end(session, call)
            elif session.sent < call.answered:
                session.ending = min(session.ending, call.sent)

    def _password_changed(self, call: Call) -> None:
        """End the user's other sessions, and all sessions opened with the old password, however late the answer."""
        others = [(handle, one) for handle, one in self._sessions.items() if one.sub == call.sub]
        old = {
            c.result.session for c in self._calls if c.kind == "login" and c.note == "old" and c.sent < call.answered
        }
        for handle, session in others:
            if handle == call.session:
                self._replaced_all(handle, call)
            elif session.answered < call.sent or handle in old:
                self._end(session, call)
            elif session.sent < call.answered:
                session.ending = min(session.ending, call.sent)

    def _replaced_all(self, handle: str, call: Call) -> None:
        """The session that changed the password gets new tokens. A refresh with an old token may end it as reuse."""
        new = (call.result.access, call.result.refresh)
        for token, held in self._tokens.items():
            if handle_in(token) == handle and token not in new:
                held.superseded = min(held.superseded, call.sent)
        if any(c.token not in new and c.answered > call.sent for c in self._presentations[handle]):
            self._sessions[handle].ending = min(self._sessions[handle].ending, call.sent)

    def _end(self, session: _Session, call: Call) -> None:
        session.ending = min(session.ending, call.sent)
        if 200 <= call.status < 300:
            session.ended = min(session.ended, call.answered)

    def _judge(self, call: Call) -> None:
        if call.status >= 500:
            self._judge_failure(call)
        elif call.kind == "introspect" and call.status == 200 and call.token:
            self._judge_introspection(call, call.token)
        elif call.kind == "refresh" and call.token:
            self._judge_refresh(call, call.token)

    def _judge_failure(self, call: Call) -> None:
        if call.status != 503:
            self._found("Inv5", f"{call.kind} was answered {call.status}")
        elif not call.result.retry_after:
            self._found("Inv5", f"{call.kind} was answered 503 without Retry-After")

    def _judge_introspection(self, call: Call, token: str) -> None:
        session = self._sessions.get(handle_in(token))
        held = self._tokens.get(token)
        if token.startswith("ref_"):
            if call.result.active:
                self._found("Inv4", f"{token} passes as an access token")
            return
        if call.result.active:
            if session is not None and session.ended < call.sent:
                self._found("Inv1", f"{token} active {call.sent - session.ended:.3f} s after its end was acknowledged")
            self._judge_identity(call, token, session)
        elif session is not None and held is not None:
            over = min(held.superseded, held.expires, session.ending, self._partner_spent(held))
            if held.issued < call.sent and call.answered < over:
                self._found("Inv3", f"{token} inactive {call.sent - held.issued:.3f} s after it was given out")

    def _judge_identity(self, call: Call, token: str, session: _Session | None) -> None:
        result = call.result
        expected = call.sub or (session.sub if session else None)
        if expected is not None and result.sub != expected:
            self._found("Inv2", f"{token} of {expected} was answered with {result.sub}")
        elif result.session != handle_in(token):
            self._found("Inv2", f"{token} was answered with the session {result.session}")

    def _judge_refresh(self, call: Call, token: str) -> None:
        session = self._sessions.get(handle_in(token))
        if call.status == 200:
            if call.result.session != handle_in(token):
                self._found("Inv2", f"{token} was exchanged for tokens of the session {call.result.session}")
            if session is not None and session.ended < call.sent:
                self._found("Inv1", f"{token} was exchanged after the end of its session was acknowledged")
        elif call.status == 400 and session is not None and token in self._tokens:
            first = self._first_presented[token]
            if call.answered < session.ending and not self._may_be_reuse(token, first, call):
                self._found("Inv3", f"{token} was refused ({call.result.error}), which nothing explains")

    def _partner_spent(self, held: _Token) -> float:
        return self._first_presented.get(held.partner, math.inf) if held.partner else math.inf

    def _found(self, code: str, text: str) -> None:
        self.violations.append(Violation(code, text))


def check(calls: Sequence[Call], *, grace_s: float = 10) -> list[Violation]:
    """The violations of Inv1 to Inv5 in a journal. grace_s: how long a spent refresh token gets its pair again."""
    return _Replay(calls, grace_s).run()


def leaks(secrets: Iterable[str], logs: Iterable[Path]) -> list[Violation]:
    """The violations of Inv6: each log that holds a secret."""
    needles = [secret.encode() for secret in secrets]
    found = []
    for log in logs:
        held = log.read_bytes()
        hits = sum(needle in held for needle in needles)
        if hits:
            found.append(Violation("Inv6", f"{log.name} holds {hits} secrets"))
    return found


def unanswered(calls: Iterable[Call]) -> int:
    return sum(call.status == UNANSWERED for call in calls)
