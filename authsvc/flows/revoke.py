"""Revoking: the session of a token (RFC 7009), all of a user, of a client or of the service. Each is one write."""

from authsvc.core import exchange, exchanged
from authsvc.core import token as tokens
from authsvc.core.client import Client
from authsvc.core.event import About, Event
from authsvc.core.exchanged import Chain
from authsvc.core.reason import Reason
from authsvc.core.session import Session
from authsvc.core.token import OF_SESSION, Token
from authsvc.errors import NotFound, UnauthorizedClient
from authsvc.flows.deps import Caller, Deps, audit, audit_if_not_durable, require_power_over
from authsvc.flows.sessions import cut_off, end_session


async def revoke_token(deps: Deps, caller: Caller, client: Client | None, presented: str) -> None:
    """End the session of an access token, a refresh token or a key. An exchanged token ends alone.

    Unknown tokens are no error (section 2.2).
    client: the caller, which may revoke its own tokens. None: an admin, who may revoke all. Raises UnauthorizedClient.
    """
    token = tokens.parse(presented, *OF_SESSION, foreign=deps.settings.foreign_key_prefixes)
    if token is None:
        return
    session = await deps.store.sessions.find(token.handle)
    if session is None:
        await deps.store.sessions.ensure_absent(token.handle)
        return
    if chain := session.chain_of(token):
        await _revoke_exchanged(deps, caller, client, token, session, chain)
        return
    # A spent or expired token ends its session too: its holder wants the session to end.
    if session.match(token, deps.clock()) is Reason.FORGED:
        return
    _refuse_others(client, session.client_id, session.aud)
    await end_session(deps, caller, token.handle, session, "revoked")


async def _revoke_exchanged(
    deps: Deps, caller: Caller, client: Client | None, token: Token, session: Session, chain: Chain
) -> None:
    """End an exchanged token, and those that come from it. Its session goes on."""
    _refuse_others(client, chain[0].client_id, exchanged.audience_of(chain, session.aud))
    about = About(session.sub, token.handle, chain[0].client_id)
    try:
        async with audit_if_not_durable(deps, caller, Event.TOKEN_REVOKED, about):
            # Written also if it has ended already: whoever ended it may have been told that this may not last.
            await deps.store.sessions.change(token.handle, lambda held: exchange.end(held, token))
    except NotFound:
        await deps.store.sessions.ensure_absent(token.handle)
        return
    if not chain[0].ended:
        await audit(deps, caller, Event.TOKEN_REVOKED, about)


async def revoke_session(deps: Deps, caller: Caller, handle: str) -> None:
    """End a session by its id. It is no error if the session is gone already."""
    if not tokens.is_handle(handle):
        return
    session = await deps.store.sessions.find(handle)
    if session is None:
        await deps.store.sessions.ensure_absent(handle)
    else:
        await end_session(deps, caller, handle, session, "revoked")


async def end_by_admin(deps: Deps, caller: Caller, handle: str) -> None:
    """End one session of any user, by its id. Raises NotFound, AccessDenied."""
    session = await deps.store.sessions.find(handle) if tokens.is_handle(handle) else None
    if session is None:
        if tokens.is_handle(handle):
            await deps.store.sessions.ensure_absent(handle)
        raise NotFound("no such session")
    user = await deps.store.users.find(session.sub)
    if user is not None:
        require_power_over(deps, caller, user)
    await end_session(deps, caller, handle, session, "ended by an admin")


async def revoke_user(deps: Deps, caller: Caller, sub: str) -> None:
    """End every session and key of a user, also logins and refreshes in flight. Raises NotFound, AccessDenied."""
    now = deps.clock()
    user = await cut_off(deps, caller, sub, lambda user: user.cut_off(now))
    await audit(deps, caller, Event.USER_CUT_OFF, About(sub), epoch=user.epoch)


async def revoke_client(deps: Deps, caller: Caller, client_id: str) -> None:
    """End every session opened through a client. Raises NotFound."""
    now = deps.clock()
    client = await deps.store.clients.change(client_id, lambda client: client.cut_off(now), first=True)
    await audit(deps, caller, Event.CLIENT_CUT_OFF, About(client_id=client_id), epoch=client.epoch)


async def revoke_all(deps: Deps, caller: Caller) -> None:
    """End every session of the service."""
    now = deps.clock()
    service = await deps.store.service.change(lambda service: service.cut_off(now))
    await audit(deps, caller, Event.SERVICE_CUT_OFF, epoch=service.epoch)


def _refuse_others(client: Client | None, owner: str, audience: tuple[str, ...]) -> None:
    """Raise UnauthorizedClient if this client may not revoke a token for `audience` that was issued to `owner`."""
    if client is None or owner == client.client_id or (client.may("revoke") and client.covers(audience)):
        return
    raise UnauthorizedClient("the token was issued to another client")
