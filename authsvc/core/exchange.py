"""Exchanging a token of a session for a narrower one (RFC 8693), and ending one that was exchanged.

Each function takes a record and returns the next one, for the store to swap in. The new token is derived from the one
that was exchanged and from a seed in the record. So the same request gets the same token again, and neither a copy of
the store nor the token that was exchanged is enough to make it.
"""

import secrets
from dataclasses import dataclass
from functools import partial

from authsvc.core import exchanged
from authsvc.core import scope as scopes
from authsvc.core import token as tokens
from authsvc.core.client import Client
from authsvc.core.exchanged import DEPTH, MOST, Chain, Exchanged
from authsvc.core.reason import Reason
from authsvc.core.session import Session
from authsvc.core.token import Kind, Token, is_same_digest
from authsvc.errors import InvalidRequest, InvalidTarget, TooManyTokens

NOT_ACTIVE = "subject_token: not active, or not for this client"

# A token that is given again works for at least so long, unless no token of this session would. In seconds.
_LEFT_S = 60


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client asks for.

    client: as read before its request began. A cut-off since then ends the exchanged token.
    scope: within that of the token. None: all of it that the client can get. most: what the client can get at all.
    audience: one resource server. None: those of the token.
    """

    client: Client
    most: str | None
    scope: str | None = None
    audience: str | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """An exchanged token in clear, its scope, and when it expires in epoch seconds."""

    access: Token
    scope: str
    exp: int


def exchange(session: Session, subject: Token, wish: Wish, now: float) -> tuple[Session, Issued]:
    """Exchange `subject`, a token of this session, for another one.

    Returns the session itself if it holds the same token already. Raises InvalidRequest if the subject does not open
    the session, or was exchanged too often; InvalidScope, InvalidTarget, TooManyTokens.
    """
    match = session.match(subject, now)
    if isinstance(match, Reason):
        raise InvalidRequest(NOT_ACTIVE)
    if len(match.chain) >= DEPTH:
        raise InvalidRequest(f"subject_token: was exchanged {DEPTH} times already")
    seed = session.exchange_seed or secrets.token_urlsafe(16)
    number = max((one.number for one in session.exchanged), default=0) + 1
    access = _derived(seed, subject, number)
    new = Exchanged(
        number=number,
        access=access.digest,
        client_id=wish.client.client_id,
        epoch=wish.client.epoch,
        issued=int(now) - session.began,
        words=scopes.mask(_scope(match.scope, wish), session.scope),
        audience=_audience(session, match.chain, wish),
        source=match.chain[0].number if match.chain else None,
    )
    exp = session.exp_of((new, *match.chain))
    for one in filter(partial(_is_alike, new), session.exchanged):
        again, until = _derived(seed, subject, one.number), session.exp_of((one, *match.chain))
        usable = until - now >= _LEFT_S or now < until == exp
        if usable and is_same_digest(one.access, again.digest):
            return session, Issued(again, session.scope_of(one), until)
    held = (*_with_room(session, now), new)
    return session.but(exchange_seed=seed, exchanged=held), Issued(access, session.scope_of(new), exp)


def end(session: Session, token: Token) -> Session:
    """The session after this exchanged token has ended, with all that come from it. Its other tokens work on."""
    chain = exchanged.find(session.exchanged, token.digest)
    if not chain or chain[0].ended:
        return session
    number = chain[0].number
    held = [one.but(ended=True) if one.number == number else one for one in session.exchanged]
    return session.but(exchanged=tuple(held))


def _derived(seed: str, subject: Token, number: int) -> Token:
    secret = tokens.derive(seed, subject, f"exchanged {number}") % 62**tokens.SECRET_LENGTH
    return tokens.assemble(Kind.ACCESS, subject.handle, secret)


def _is_alike(one: Exchanged, other: Exchanged) -> bool:
    """Whether both have the same client, rights and source, and neither has ended."""
    return one.but(number=0, access="", issued=0) == other.but(number=0, access="", issued=0)


def _scope(held: str, wish: Wish) -> str:
    """The scope of the new token. held: that of the token that is exchanged. Raises InvalidScope."""
    if wish.scope is not None:
        return scopes.within(scopes.within(wish.scope, held), wish.most)
    return held if wish.most is None else scopes.common(held, wish.most)


def _audience(session: Session, chain: Chain, wish: Wish) -> int | str | None:
    """The audience as it is stored. Raises InvalidTarget."""
    wanted, held = wish.audience, exchanged.audience_of(chain, session.aud)
    if wanted is None or held == (wanted,):
        return None
    if wanted not in held and wanted not in wish.client.exchange_audience:
        raise InvalidTarget()
    return session.aud.index(wanted) if wanted in session.aud else wanted


def _with_room(session: Session, now: float) -> list[Exchanged]:
    """The exchanged tokens that stay beside a new one. Raises TooManyTokens.

    Expired ones go. Those that have ended stay, unless their place is needed.
    """
    chains = [exchanged.chain_of(session.exchanged, one) for one in session.exchanged]
    chains = [chain for chain in chains if now < session.exp_of(chain)]
    if len(chains) >= MOST:
        chains = [chain for chain in chains if not exchanged.has_ended(chain)]
    if len(chains) >= MOST:
        raise TooManyTokens(max(min(map(session.exp_of, chains)) - int(now), 1))
    return [chain[0] for chain in chains]
