"""Exchanging a refresh token (RFC 6749 section 6)."""

from authsvc.core import rotation as rotations
from authsvc.core import scope as scopes
from authsvc.core import token as tokens
from authsvc.core.client import Client
from authsvc.core.event import About, Event
from authsvc.core.grace import Grace
from authsvc.core.reason import Reason
from authsvc.core.rotation import Attempt, RefreshOutcome, Rotation
from authsvc.core.session import Active, Found, Session, inactive_reason
from authsvc.core.token import Kind, Token
from authsvc.errors import InvalidGrant, NotFound
from authsvc.flows.deps import Caller, Deps, audit, audit_if_not_durable
from authsvc.flows.grants import Grant
from authsvc.flows.step_up import demand_factor, is_too_weak

_INVALID = "the refresh token is not valid"
_ELSEWHERE = "spent, and repeated from elsewhere"


async def refresh(deps: Deps, caller: Caller, client: Client, presented: str, scope: str | None = None) -> Grant:
    """Rotate the refresh token, as `core/rotation.py` decides.

    scope: of the new access token, within the session's; None for all of it. Raises InvalidGrant, InvalidScope,
    and InsufficientAuthorization for a session that the policy finds too weak; the session goes on.
    """
    now = deps.clock()
    token, found = await _found(deps, client, presented, now)
    await _refuse_too_weak(deps, caller, found)
    attempt = Attempt(
        now=now,
        access_ttl_s=client.lifetimes(refreshable=True).access,
        grace_s=deps.settings.refresh_grace_s,
        scope=None if scope is None else scopes.within(scope, found.session.scope),
        ip=caller.ip,
        user_agent=caller.user_agent,
    )
    about = About(found.session.sub, token.handle, client.client_id)
    rotation = await _rotated(deps, caller, token, attempt, about)
    if rotation.session is None:
        await deps.store.sessions.unlist({token.handle: found.session})
    await _audited(deps, caller, rotation, about)
    if rotation.pair is None or rotation.session is None:
        raise InvalidGrant(_INVALID)
    return Grant.of(token.handle, rotation.session, rotation.pair, now)


async def _refuse_too_weak(deps: Deps, caller: Caller, found: Found) -> None:
    """Raise InsufficientAuthorization if the policy demands a factor that the session lacks."""
    session, user, client = found.session, found.user, found.client
    if user is None or client is None:
        return
    if is_too_weak(deps, session, user, client):
        me = Active(found.handle, session.granted, session.exp, session, user, client, current=True)
        raise await demand_factor(deps, caller, me)


async def _rotated(deps: Deps, caller: Caller, token: Token, attempt: Attempt, about: About) -> Rotation:
    def decide(session: Session, grace: Grace | None) -> Rotation:
        return rotations.rotate(session, grace, token, attempt)

    try:
        async with audit_if_not_durable(deps, caller, Event.TOKEN_REUSED, about, reason=Reason.SPENT):
            return await deps.store.sessions.rotate(token.handle, decide)
    except NotFound:
        raise InvalidGrant(_INVALID) from None


async def _audited(deps: Deps, caller: Caller, rotation: Rotation, about: About) -> None:
    match rotation.outcome:
        case RefreshOutcome.ROTATED:
            # In the log only: every device refreshes all day long, and would push everything else out of the trail.
            await audit(deps, caller, Event.TOKEN_REFRESHED, about, kept=False)
        case RefreshOutcome.REPEATED:
            await audit(deps, caller, Event.TOKEN_REPEATED, about, kept=rotation.noted)
        case RefreshOutcome.REUSED:
            await audit(deps, caller, Event.TOKEN_REUSED, about, outcome="failure", reason=Reason.SPENT)
        case RefreshOutcome.REUSED_ELSEWHERE:
            await audit(deps, caller, Event.TOKEN_REUSED, about, outcome="failure", reason=_ELSEWHERE)


async def _found(deps: Deps, client: Client, presented: str, now: float) -> tuple[Token, Found]:
    token = tokens.parse(presented, Kind.REFRESH)
    found = None if token is None else await deps.store.lookup.session(token.handle)
    # A token of another client is refused before it can change the session.
    if token is None or found is None or found.session.client_id != client.client_id:
        raise InvalidGrant(_INVALID)
    # Changes of one session wait for each other. A forged token, for which a public handle is enough, does not wait.
    if inactive_reason(found, now) or found.session.match(token, now) is Reason.FORGED:
        raise InvalidGrant(_INVALID)
    return token, found
