"""Telling who a token speaks for, right now."""

from collections.abc import Sequence
from typing import Any

from authsvc.core import token as tokens
from authsvc.core.session import Active, Found, Inactive, Reason, decide
from authsvc.core.token import Kind, Token
from authsvc.flows.clients import CLIENT_ID
from authsvc.flows.deps import Deps
from authsvc.metrics import result_of
from authsvc.store.lookup import Answer

INACTIVE: dict[str, Any] = {"active": False}


async def look_up(deps: Deps, presented: str, kind: Kind | None = None) -> Active | Inactive:
    """Decide about a token as it is presented; an active one is noted as used. Raises StoreUnavailable."""
    token = tokens.parse(presented, kind)
    if token is None:  # not a shape we issue: answered without a round trip
        return _malformed(deps)
    return judged(deps, token, await deps.store.lookup.session(token.handle), deps.clock())


async def introspect(
    deps: Deps, client_id: str, secret: str | None, presented: Sequence[str]
) -> list[dict[str, Any]] | None:
    """Answer a resource server about tokens, in order (RFC 7662 section 2.2).

    Unknown, expired, revoked and not-for-this-caller are one indistinguishable answer. The caller's own record is read
    in the same round trip; None is for one that is no client with this secret that may introspect. Raises
    StoreUnavailable when we could not look, which is not the same as inactive.
    """
    if secret is None or not CLIENT_ID.fullmatch(client_id):
        return None
    parsed = [tokens.parse(text) for text in presented]  # what is not of our shape is not looked up
    found = await deps.store.lookup.sessions(client_id, [token.handle for token in parsed if token])
    return answers(deps, found, secret, parsed)


def answers(deps: Deps, found: Answer, secret: str, asked: Sequence[Token | None]) -> list[dict[str, Any]] | None:
    """What `introspect` answers, once everything has been read. Raises StoreUnavailable for a damaged record."""
    now, client = deps.clock(), found.client()
    if client is None or not client.opens_with(secret, now) or not client.may("introspect"):
        return None
    told = []
    for token in asked:
        verdict = _verdict(deps, token, found.session(token.handle), now) if token else _malformed(deps)
        # To be told that it is inactive is no use of it: others could keep a session alive that way.
        if isinstance(verdict, Active) and client.hears_about(verdict.session.aud):
            _note_use(deps, verdict, now)
            told.append(described(verdict, deps.settings.base_url, now))
        else:
            told.append(INACTIVE)
    return told


def judged(deps: Deps, token: Token, found: Found | None, now: float) -> Active | Inactive:
    """Decide about a token once its session has been read; an active one is noted as used."""
    verdict = _verdict(deps, token, found, now)
    if isinstance(verdict, Active):
        _note_use(deps, verdict, now)
    return verdict


def _malformed(deps: Deps) -> Inactive:
    deps.metrics.tokens_checked.add("malformed")
    return Inactive(Reason.UNKNOWN)


def _verdict(deps: Deps, token: Token, found: Found | None, now: float) -> Active | Inactive:
    verdict = Inactive(Reason.UNKNOWN) if found is None else decide(found, token, now)
    deps.metrics.tokens_checked.add("active" if isinstance(verdict, Active) else result_of(verdict.reason))
    return verdict


def _note_use(deps: Deps, active: Active, now: float) -> None:
    if active.session.due_for_touch(now):
        deps.store.sessions.touch(active.handle, now)


def described(active: Active, issuer: str, now: float) -> dict[str, Any]:
    """What an introspecting client learns. Absent: what has no value (username, aud, claims, amr)."""
    session, user = active.session, active.user
    answer: dict[str, Any] = {
        "active": True,
        "sub": session.sub,
        "scope": active.scope,
        "client_id": session.client_id,
        "token_type": "Bearer" if active.kind is Kind.ACCESS else "refresh_token",
        "exp": active.exp,
        "iat": session.iat,
        "iss": issuer,
        "roles": user.roles,
        "session_id": active.handle,
        "auth_time": session.auth_time,
        "version": user.version,
        "recheck_at": session.recheck_at(now, active.exp),
    }
    if user.username is not None:
        answer["username"] = user.username
    if session.aud:
        answer["aud"] = session.aud
    if session.amr:
        answer["amr"] = session.amr
    if user.claims:
        answer["claims"] = user.claims
    return answer
