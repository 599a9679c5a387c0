"""Telling an operator why a token is inactive."""

from dataclasses import dataclass
from typing import Any

from authsvc.core import token as tokens
from authsvc.core.session import Active, Found, Inactive, Reason, decide, standing
from authsvc.core.token import Kind
from authsvc.errors import InvalidRequest
from authsvc.flows.deps import Deps
from authsvc.store.audit import Entry

_SHOWN = ("sub", "client_id", "scope", "auth_time", "created_ms", "seen", "idle_s", "end", "exp")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known about a token or session. `trail`: the audit events that mention it, oldest first."""

    active: bool
    reason: str
    session_id: str
    session: dict[str, Any] | None
    trail: list[Entry]


async def explain(deps: Deps, presented: str) -> Explanation:
    """Say whether a token (or the session with this id) is active, and if not, why. Raises InvalidRequest."""
    token = tokens.parse(presented)
    if token is not None and token.kind not in (Kind.ACCESS, Kind.REFRESH):
        raise InvalidRequest("only access and refresh tokens belong to a session")
    if token is None and not tokens.is_handle(presented):
        raise InvalidRequest("neither a token (its check digits may not match) nor a session's id")
    handle = presented if token is None else token.handle
    found = await deps.store.lookup.session(handle)
    trail = await _trail(deps, handle, found)
    if found is None:
        return Explanation(False, _from_trail(trail, deps.clock()), handle, None, trail)
    reason = _from_records(found, token, deps.clock())
    if reason in (Reason.USER_CUT_OFF, Reason.CLIENT_CUT_OFF, Reason.SERVICE_CUT_OFF, Reason.USER_SUSPENDED):
        reason = f"{reason}{_by(trail)}"
    shown = {name: getattr(found.session, name) for name in _SHOWN}
    return Explanation(reason is None, reason or "active", handle, shown, trail)


def _from_records(found: Found, token: tokens.Token | None, now: float) -> str | None:
    if token is None:
        return standing(found, now)
    verdict: Active | Inactive = decide(found, token, now)
    return verdict.reason if isinstance(verdict, Inactive) else None


def _from_trail(trail: list[Entry], now: float) -> str:
    for entry in reversed(trail):
        event = entry.event
        if event.event == "session.ended":
            return f"ended: {event.reason}, by {event.actor}"
        if event.event == "token.reused":
            return f"ended: a spent refresh token was presented, by {event.actor}"
        if event.event in (
            "user.cut_off",
            "user.deleted",
            "user.suspended",
            "password.changed",
            "password.reset",
            "password.reset_required",
        ):
            return f"ended: {event.event}, by {event.actor}"
    for entry in trail:
        end = (entry.event.details or {}).get("end")
        if end is not None and now >= end:
            return Reason.ENDED
    return Reason.UNKNOWN


def _by(trail: list[Entry]) -> str:
    cut_offs = [entry.event for entry in trail if (entry.event.details or {}).get("epoch") is not None]
    return f", by {cut_offs[-1].actor} ({cut_offs[-1].event})" if cut_offs else ""


async def _trail(deps: Deps, handle: str, found: Found | None) -> list[Entry]:
    """Walk the whole trail: an operator asks rarely, and an index would have to be kept for nobody else."""
    entries = [entry async for entry in deps.store.audit.backwards()]
    begun = [entry for entry in entries if entry.event.session_id == handle]
    born = next((e for e in begun if e.event.event in ("login.succeeded", "token.issued")), None)
    sub = found.session.sub if found else born and born.event.sub
    client_id = found.session.client_id if found else born and born.event.client_id
    since = found.session.created_ms / 1000 if found else (born.at if born else float("inf"))

    def concerns(entry: Entry) -> bool:
        event = entry.event
        if event.session_id == handle:
            return True
        if entry.at < since or (event.details or {}).get("spared") == handle:
            return False
        if event.event == "service.cut_off":
            return True
        if event.event in ("client.cut_off", "client.deleted"):
            return event.client_id == client_id
        cut_off = event.event.startswith(("user.cut_off", "user.deleted", "user.suspended", "password."))
        return cut_off and event.outcome != "failure" and event.sub == sub

    return [entry for entry in reversed(entries) if concerns(entry)]
