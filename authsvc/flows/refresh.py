"""Exchanging a refresh token (RFC 6749 section 6)."""

from authsvc.core import issuing
from authsvc.core import scope as scopes
from authsvc.core import token as tokens
from authsvc.core.client import Client
from authsvc.core.event import About, Event
from authsvc.core.issuing import RefreshOutcome, Rotation
from authsvc.core.session import Found, Reason, Session, inactive_reason
from authsvc.core.token import Kind, Token
from authsvc.errors import InvalidGrant, NotFound
from authsvc.flows.deps import Caller, Deps, audit, audit_if_not_durable
from authsvc.flows.grants import Grant

_INVALID = "the refresh token is not valid"


async def refresh(deps: Deps, caller: Caller, client: Client, presented: str, scope: str | None = None) -> Grant:
    """Rotate the refresh token, as `core/issuing.py` decides.

    scope: of the new access token, within the session's; None for all of it. Raises InvalidGrant, InvalidScope.
    """
    now = deps.clock()
    token, found = await _found(deps, client, presented, now)
    narrowed = None if scope is None else scopes.within(scope, found.session.scope)
    access_ttl_s = client.lifetimes(refreshable=True).access

    def rotated(session: Session) -> tuple[Session | None, Rotation]:
        rotation = issuing.rotate(
            session,
            token,
            now=now,
            access_ttl_s=access_ttl_s,
            grace_s=deps.settings.refresh_grace_s,
            scope=narrowed,
        )
        return rotation.session, rotation

    about = About(found.session.sub, token.handle, client.client_id)
    try:
        # Losing a rotation in a failover is harmless. The end of a session is always made durable.
        async with audit_if_not_durable(deps, caller, Event.TOKEN_REUSED, about, reason=Reason.SPENT):
            _, rotation = await deps.store.sessions.step(token.handle, rotated, durable=False)
    except NotFound:
        raise InvalidGrant(_INVALID) from None
    if rotation.outcome is RefreshOutcome.REUSED:
        await deps.store.sessions.unlist(found.session.sub, [token.handle])
        await audit(deps, caller, Event.TOKEN_REUSED, about, outcome="failure", reason=Reason.SPENT)
    if rotation.pair is None or rotation.session is None:
        raise InvalidGrant(_INVALID)
    if rotation.outcome is RefreshOutcome.ROTATED:
        # In the log only: every device refreshes all day long, and would push everything else out of the trail.
        await audit(deps, caller, Event.TOKEN_REFRESHED, about, kept=False)
    return Grant.of(token.handle, rotation.session, rotation.pair, now)


async def _found(deps: Deps, client: Client, presented: str, now: float) -> tuple[Token, Found]:
    token = tokens.parse(presented, Kind.REFRESH)
    found = None if token is None else await deps.store.lookup.session(token.handle)
    # A token of another client is refused before it can change the session.
    if token is None or found is None or found.session.client_id != client.client_id:
        raise InvalidGrant(_INVALID)
    if inactive_reason(found, now):
        raise InvalidGrant(_INVALID)
    return token, found
