"""Telling who a token speaks for, right now."""

from typing import Any

from authsvc.core import token as tokens
from authsvc.core.client import Client
from authsvc.core.session import Active, Inactive, Reason, decide
from authsvc.core.token import Kind
from authsvc.errors import UnauthorizedClient
from authsvc.flows.deps import Deps

INACTIVE: dict[str, Any] = {"active": False}


async def look_up(deps: Deps, presented: str, kind: Kind | None = None) -> Active | Inactive:
    """Decide about a token as it is presented; an active one is noted as used. Raises StoreUnavailable."""
    token = tokens.parse(presented, kind)
    if token is None:  # not a shape we issue: answered without a round trip
        return Inactive(Reason.UNKNOWN)
    found = await deps.store.lookup.session(token.handle)
    if found is None:
        return Inactive(Reason.UNKNOWN)
    now = deps.clock()
    verdict = decide(found, token, now)
    if isinstance(verdict, Active) and verdict.session.due_for_touch(now):
        deps.store.sessions.touch(verdict.handle, now)
    return verdict


async def introspect(deps: Deps, client: Client, presented: str) -> dict[str, Any]:
    """Answer a resource server (RFC 7662 section 2.2).

    Unknown, expired, revoked and not-for-this-caller are one indistinguishable answer. Raises UnauthorizedClient, and
    StoreUnavailable when we could not look, which is not the same as inactive.
    """
    if not client.may("introspect"):
        raise UnauthorizedClient("this client may not introspect")
    verdict = await look_up(deps, presented)
    if isinstance(verdict, Inactive) or not client.hears_about(verdict.session.aud):
        return INACTIVE
    return described(verdict, deps.settings.base_url)


def described(active: Active, issuer: str) -> dict[str, Any]:
    """What an introspecting client learns. Absent: what has no value (username, aud, claims, amr)."""
    session, user = active.session, active.user
    bearer = active.kind is Kind.ACCESS
    answer: dict[str, Any] = {
        "active": True,
        "sub": session.sub,
        "scope": active.scope,
        "client_id": session.client_id,
        "token_type": "Bearer" if bearer else "refresh_token",
        "exp": session.exp if bearer else session.end,
        "iat": session.iat,
        "iss": issuer,
        "roles": user.roles,
        "session_id": active.handle,
        "auth_time": session.auth_time,
        "version": user.version,
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
