"""Telling an operator why a token is inactive."""

from dataclasses import dataclass
from typing import Any

from authsvc.core import event as events
from authsvc.core import token as tokens
from authsvc.core.api_key import last_used_at
from authsvc.core.event import Event
from authsvc.core.exchanged import Chain, act_of, audience_of
from authsvc.core.leak import ENDING
from authsvc.core.reason import Reason
from authsvc.core.session import KEY, Found, Session, exchanger_reason, inactive_reason
from authsvc.core.token import OF_SESSION, Kind, Token
from authsvc.errors import InvalidRequest
from authsvc.flows.deps import Deps
from authsvc.store.audit import StoredEntry

_SHOWN = ("token_use", "sub", "client_id", "scope", "networks", "created_ms", "end", "exp")
# Kinds of which nothing is known but the report of a leak.
_OF_NO_SESSION = (Kind.LOGIN, Kind.RESET, Kind.DEVICE)
_BEGINNINGS = (Event.LOGIN_SUCCEEDED, Event.TOKEN_ISSUED, Event.KEY_CREATED)
_CUT_OFFS = (Reason.USER_CUT_OFF, Reason.KEYS_CUT_OFF, Reason.CLIENT_CUT_OFF, Reason.SERVICE_CUT_OFF)
# Causes of the end of a session without a record, in words.
_ENDINGS: dict[str, str] = {
    Event.PASSWORD_CHANGED: "the password was changed",
    Event.PASSWORD_RESET: "the password was set with a reset code",
    Event.PASSWORD_RESET_REQUIRED: "the password was taken away",
    Event.TOKEN_REUSED: "a spent refresh token was presented",
    Event.USER_CUT_OFF: "every session of the user was ended",
    Event.USER_DELETED: "the user was deleted",
    Event.USER_SUSPENDED: "the user was suspended",
    Event.USER_KEYS_CUT_OFF: "every key of the user was ended",
    Event.CLIENT_CUT_OFF: "every session of the client was ended",
    Event.CLIENT_DELETED: "the client was deleted",
    Event.SERVICE_CUT_OFF: "every session of everybody was ended",
}
# The clocks of workers differ a little, so the times in the trail are not quite in its order.
_SKEW_S = 60


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of a token or a session. `trail`: the audit entries that concern it, oldest first.

    leaked: when and where the token was found, and what it could do; None unless somebody reported it.
    """

    active: bool
    reason: str
    session_id: str
    session: dict[str, Any] | None
    trail: list[StoredEntry]
    leaked: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The beginning of a session: its user, its client and its time (epoch seconds). is_key: of a key."""

    sub: str | None
    client_id: str | None
    at: float
    is_key: bool


async def explain(deps: Deps, presented: str) -> Explanation:
    """Say whether a token (or the session with this id) is active, and if not, why. Raises InvalidRequest."""
    of_none = tokens.parse(presented, *_OF_NO_SESSION)
    if of_none is not None and (reported := await _reported(deps, of_none)):
        return Explanation(False, _leaked_by(reported), of_none.handle, None, [reported], _leak(reported))
    token = token_of_session(deps, presented)
    handle = presented if token is None else token.handle
    found = await deps.store.lookup.session(handle)
    trail = await _trail(deps, handle, found)
    leaks = [_leak(stored) for stored in trail if stored.entry.event == Event.TOKEN_LEAKED]
    if found is None:
        ended = _from_trail(trail, handle, deps.clock())
        return Explanation(False, ended, handle, None, trail, leaks[0] if leaks else None)
    reason = _from_records(found, token, deps.clock())
    if reason in (*_CUT_OFFS, Reason.USER_SUSPENDED):
        reason = f"{reason}{_by(trail)}"
    known = _known(found.session)
    known |= found.session.authentication(found.client)._asdict()
    known |= _of_exchanged(found.session, () if token is None else found.session.chain_of(token))
    shown = {name: value for name, value in known.items() if value not in (None, ())}
    return Explanation(reason is None, reason or "active", handle, shown, trail, leaks[0] if leaks else None)


def _known(session: Session) -> dict[str, Any]:
    """What the record says. A member that says nothing is None or an empty tuple."""
    known = {name: getattr(session, name) for name in _SHOWN}
    known |= {"audience": session.aud, "seen": last_used_at(session), "idle_s": session.idle_s or None}
    named = {"name": session.device} if session.origin == KEY else {"device": session.device}
    return known | named | {"ip": session.ip, "user_agent": session.user_agent}


async def _reported(deps: Deps, token: Token) -> StoredEntry | None:
    """The report of a token that belongs to no session, as the trail has it."""
    async for stored in deps.store.audit.backwards():
        if stored.entry.event == Event.TOKEN_LEAKED and (stored.entry.details or {}).get("token") == token.public:
            return stored
    return None


def _leak(stored: StoredEntry) -> dict[str, Any]:
    return {"leaked_at": stored.at, "kind": stored.entry.reason, **(stored.entry.details or {})}


def _leaked_by(stored: StoredEntry) -> str:
    return f"ended: reported as leaked, by {stored.entry.actor}"


def token_of_session(deps: Deps, presented: str) -> Token | None:
    """The access token, refresh token or key; None for the id of a session. Raises InvalidRequest for anything else."""
    token = tokens.parse(presented, foreign=deps.settings.foreign_key_prefixes)
    if token is None and not tokens.is_handle(presented):
        raise InvalidRequest("this is no token and no session's id: a character may be missing or wrong")
    if token is not None and token.kind not in OF_SESSION:
        raise InvalidRequest("only access tokens, refresh tokens and keys belong to a session")
    return token


def _from_records(found: Found, token: Token | None, now: float) -> str | None:
    match = None if token is None else found.session.match(token, now)
    if isinstance(match, Reason):
        return match
    return inactive_reason(found, now) or exchanger_reason(found, match.chain if match else ())


def _of_exchanged(session: Session, chain: Chain) -> dict[str, Any]:
    """The members in which an exchanged token differs from its session."""
    if not chain:
        return {}
    return {
        "token_use": "exchanged",
        "client_id": chain[0].client_id,
        "act": act_of(chain),
        "scope": session.scope_of(chain[0]),
        "audience": audience_of(chain, session.aud),
        "exp": session.exp_of(chain),
    }


def _from_trail(trail: list[StoredEntry], handle: str, now: float) -> str:
    """The reason why a session without a record ended: the first event that ended it for certain."""
    ends = [stored for stored in trail if _ends(stored) and not _spares(stored, handle)]
    for stored in sorted(ends, key=lambda stored: stored.entry.outcome == "unsure"):
        entry = stored.entry
        if entry.event in (Event.SESSION_ENDED, Event.KEY_REVOKED):
            return f"ended: {entry.reason}, by {entry.actor}"
        if entry.event == Event.TOKEN_LEAKED:
            return _leaked_by(stored)
        return f"ended: {_ENDINGS[entry.event]}, by {entry.actor}"
    for stored in trail:
        end = (stored.entry.details or {}).get("end")
        if isinstance(end, int | float) and now >= end:
            return Reason.ENDED
    return Reason.UNKNOWN


def _ends(stored: StoredEntry) -> bool:
    """Whether the event ended sessions. A leaked exchanged token ends alone."""
    entry = stored.entry
    return events.ends(entry.event) is not None and (entry.event != Event.TOKEN_LEAKED or entry.reason in ENDING)


def _by(trail: list[StoredEntry]) -> str:
    cut_offs = [stored.entry for stored in trail if (stored.entry.details or {}).get("epoch") is not None]
    return f", by {cut_offs[-1].actor} ({_ENDINGS.get(cut_offs[-1].event, cut_offs[-1].event)})" if cut_offs else ""


async def _trail(deps: Deps, handle: str, found: Found | None) -> list[StoredEntry]:
    """The entries that concern a session, oldest first.

    Reads the trail backwards, one page at a time, and stops at the login. An index would serve nobody else.
    """
    if found is not None:
        session = found.session
        begun = _Beginning(session.sub, session.client_id, session.created_ms / 1000, session.origin == KEY)
        return await _since(deps, handle, begun)
    own = []
    async for stored in deps.store.audit.backwards():
        if stored.entry.session_id == handle:
            own.append(stored)
            if stored.entry.event in _BEGINNINGS:
                # Now the user and the client are known. Read the same part of the trail again for their cut-offs.
                entry = stored.entry
                begun = _Beginning(entry.sub, entry.client_id, stored.at, entry.event == Event.KEY_CREATED)
                return await _since(deps, handle, begun)
    return own[::-1]


async def _since(deps: Deps, handle: str, begun: _Beginning) -> list[StoredEntry]:
    found = []
    async for stored in deps.store.audit.backwards():
        if stored.at < begun.at - _SKEW_S:
            break
        if _concerns(stored, handle, begun):
            found.append(stored)
    return found[::-1]


def _concerns(stored: StoredEntry, handle: str, begun: _Beginning) -> bool:
    entry = stored.entry
    if entry.session_id == handle:
        return True
    if stored.at < begun.at or entry.outcome == "failure" or _spares(stored, handle):
        return False
    match events.ends(entry.event):
        case "service":
            return True
        case "client":
            return entry.client_id == begun.client_id
        case "user":
            return entry.sub == begun.sub and (not begun.is_key or _ends_keys(stored))
        case "keys":
            return entry.sub == begun.sub and begun.is_key
        case _:
            return False


def _ends_keys(stored: StoredEntry) -> bool:
    """Whether an event that ended a user's sessions ended the keys too."""
    details = stored.entry.details or {}
    return "spared" not in details or details.get("keys") is True


def _spares(stored: StoredEntry, handle: str) -> bool:
    return (stored.entry.details or {}).get("spared") == handle
