"""Issuing a token to a client that speaks for itself (RFC 6749 section 4.4)."""

from authsvc.core import issuing
from authsvc.core import scope as scopes
from authsvc.core import token as tokens
from authsvc.core.client import Lifetimes
from authsvc.core.event import About, Event
from authsvc.core.issuing import Opening
from authsvc.core.session import CLIENT
from authsvc.errors import StoreUnavailable, UnauthorizedClient
from authsvc.flows.clients import Parties
from authsvc.flows.deps import Caller, Deps, audit
from authsvc.flows.grants import Grant

# A client asks for the next token itself, with its secret, so the token need not live long. In seconds.
_LIVES_S = 15 * 60


async def issue_to_client(deps: Deps, caller: Caller, parties: Parties, scope: str = "") -> Grant:
    """Issue an access token whose `sub` is the client. It has no roles, and ends with the client's sessions.

    scope: within the client's registered scope. Raises UnauthorizedClient, InvalidScope.
    """
    client, service = parties
    if not client.may("token"):
        raise UnauthorizedClient("client_credentials: only for a client with the permission token")
    now = deps.clock()
    opening = Opening(
        user=client.itself,
        client=client,
        service=service,
        # No idle end: noting the uses of a token that ends so soon would be a write a minute that nobody reads.
        lifetimes=Lifetimes(_LIVES_S, 0, _LIVES_S),
        refreshable=False,
        scope=scopes.within(scope, client.widest_scope(deps.settings.app_scope)),
        origin=CLIENT,
    )
    handle = tokens.new_handle()
    session, pair = issuing.begin(handle, opening, now=now)
    # No list shows such sessions: a client has as many of them as it has processes, and they end together.
    if not await deps.store.sessions.create_unlisted(handle, session):
        raise StoreUnavailable("no free handle")
    # In the log only: each process of a client asks four times an hour.
    about = About(session.sub, handle, client.client_id)
    await audit(deps, caller, Event.TOKEN_ISSUED, about, token_use=session.token_use, kept=False)
    return Grant.of(handle, session, pair, now)
