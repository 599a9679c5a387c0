"""Revoking: the session of a token (RFC 7009), all of a user, of a client or of the service. Each is one write."""

from authsvc.core import token as tokens
from authsvc.core.client import Client
from authsvc.core.event import About, Event
from authsvc.core.reason import Reason
from authsvc.core.session import Session
from authsvc.core.token import OF_SESSION
from authsvc.errors import UnauthorizedClient
from authsvc.flows.deps import Caller, Deps, audit
from authsvc.flows.sessions import end_session


async def revoke_token(deps: Deps, caller: Caller, client: Client | None, presented: str) -> None:
    """End the session of an access token, a refresh token or a key. Unknown tokens are no error (section 2.2).

    client: the caller, which may revoke its own tokens. None: an admin, who may revoke all. Raises UnauthorizedClient.
    """
    token = tokens.parse(presented, *OF_SESSION, foreign=deps.settings.foreign_key_prefixes)
    if token is None:
        return
    session = await deps.store.sessions.find(token.handle)
    if session is None:
        await deps.store.sessions.ensure_absent(token.handle)
        return
    # A spent or expired token ends its session too: its holder wants the session to end.
    if session.match(token, deps.clock()) is Reason.FORGED:
        return
    if client is not None and not _may_revoke(client, session):
        raise UnauthorizedClient("the token was issued to another client")
    await end_session(deps, caller, token.handle, session, "revoked")


async def revoke_session(deps: Deps, caller: Caller, handle: str) -> None:
    """End a session by its id. It is no error if the session is gone already."""
    if not tokens.is_handle(handle):
        return
    session = await deps.store.sessions.find(handle)
    if session is None:
        await deps.store.sessions.ensure_absent(handle)
    else:
        await end_session(deps, caller, handle, session, "revoked")


async def revoke_user(deps: Deps, caller: Caller, sub: str) -> None:
    """End every session of a user, including logins and refreshes now in flight. Raises NotFound."""
    now = deps.clock()
    user = await deps.store.users.change(sub, lambda user: user.cut_off(now), first=True)
    deps.store.sessions.delete_cut_off(sub, user.epoch)
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


def _may_revoke(client: Client, session: Session) -> bool:
    return session.client_id == client.client_id or (client.may("revoke") and client.covers(session.aud))
