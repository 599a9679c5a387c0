"""Exchanging a token for one with which its holder calls the next resource server (RFC 8693)."""

from authsvc.core import exchange as exchanges
from authsvc.core.event import About, Event
from authsvc.core.exchange import NOT_ACTIVE, Issued, Wish
from authsvc.core.session import CLIENT, Active, Inactive
from authsvc.core.token import Token
from authsvc.errors import InvalidRequest, NotFound, UnauthorizedClient
from authsvc.flows.clients import Parties
from authsvc.flows.deps import Caller, Deps, audit
from authsvc.flows.grants import Grant
from authsvc.flows.introspect import look_up, note_use, parsed


async def exchange(
    deps: Deps, caller: Caller, parties: Parties, presented: str, *, audience: str | None, scope: str | None
) -> Grant:
    """Exchange a token that the client was sent for a token of its own, which still speaks for the user.

    The token is in the record of its session, and dead with it. While it works for another minute, the same request
    gets it again. The client has to be in the audience of the presented token. audience, scope: see `Wish`.
    Raises UnauthorizedClient, InvalidRequest, InvalidScope, InvalidTarget, TooManyTokens.
    """
    client = parties.client
    if not client.may("exchange"):
        raise UnauthorizedClient("token exchange: only for a client with the permission exchange")
    now = deps.clock()
    verdict, subject = await look_up(deps, presented), parsed(deps, presented)
    if isinstance(verdict, Inactive) or subject is None or not client.may_exchange(verdict.aud):
        raise InvalidRequest(NOT_ACTIVE)
    if verdict.session.origin == CLIENT:
        raise InvalidRequest("subject_token: speaks for no user; a client gets its own token by client_credentials")
    wish = Wish(client, client.widest_scope(deps.settings.app_scope), scope, audience)
    issued = await _issued(deps, caller, verdict, subject, wish, now)
    note_use(deps, verdict, now)
    return Grant(
        session_id=verdict.handle,
        scope=issued.scope,
        expires_in=issued.exp - int(now),
        session_ends_in=verdict.session.end - int(now),
        access_token=issued.access.text,
    )


async def _issued(deps: Deps, caller: Caller, verdict: Active, subject: Token, wish: Wish, now: float) -> Issued:
    session, issued = exchanges.exchange(verdict.session, subject, wish, now)
    if session is verdict.session:  # it was issued before: nothing is to be written
        return issued
    try:
        # The session may have ended meanwhile, or got new tokens. Losing an exchanged token in a failover is harmless.
        _, issued = await deps.store.sessions.step(
            verdict.handle, lambda held: exchanges.exchange(held, subject, wish, now), durable=False
        )
    except NotFound:
        raise InvalidRequest(NOT_ACTIVE) from None
    # In the log only: a busy resource server exchanges all day long.
    about = About(verdict.session.sub, verdict.handle, wish.client.client_id)
    await audit(deps, caller, Event.TOKEN_EXCHANGED, about, audience=wish.audience, scope=issued.scope, kept=False)
    return issued
