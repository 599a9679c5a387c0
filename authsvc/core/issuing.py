"""Issuing the tokens of a session: when it begins, and after a password change. For a refresh see `core/rotation.py`.

The functions are pure but for randomness: they return a new record for the store to swap in, and the tokens in clear.
"""

from dataclasses import dataclass

from authsvc.core import refresh_token as refresh_tokens
from authsvc.core import spent
from authsvc.core import token as tokens
from authsvc.core.authentication import Vouched
from authsvc.core.client import Client, Lifetimes
from authsvc.core.device import MAX_LABEL, label
from authsvc.core.record import Service
from authsvc.core.session import LOGIN, Epochs, Session
from authsvc.core.strength import combined
from authsvc.core.token import Kind, Token
from authsvc.core.user import User


@dataclass(frozen=True, slots=True)
class Pair:
    """The tokens of a session in clear. The answer that issues them is the only place that shows them."""

    access: Token
    refresh: Token | None

    @property
    def refresh_digest(self) -> str | None:
        return self.refresh.digest if self.refresh else None


def issue_tokens(handle: str, seed: str | None) -> Pair:
    """Make tokens that are independent of all earlier ones: for a new session and after a password change.

    seed: of the session; None if it has no refresh token.
    """
    refresh = None if seed is None else refresh_tokens.new(seed, handle)
    return Pair(tokens.new(Kind.ACCESS, handle), refresh)


@dataclass(frozen=True, slots=True)
class Opening:
    """The contents of a new session.

    user, client, service: as read before the user was authenticated. A cut-off since then ends the new session too.
    epochs: those of a login that began earlier. None: those of user, client and service.
    amr: how the user proved who they are (RFC 8176). It is empty for ISSUED sessions, which prove nothing here.
    vouched: how the user was authenticated elsewhere, by the word of the client.
    cookie: whether the token goes into the cookie, and into no body.
    ip, user_agent: those of the user. None if another program asks for the session and does not name them.
    """

    user: User
    client: Client
    service: Service
    lifetimes: Lifetimes
    refreshable: bool
    scope: str
    cookie: bool = False
    origin: str = LOGIN
    amr: tuple[str, ...] = ()
    vouched: Vouched | None = None
    device: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    epochs: Epochs | None = None


def begin(handle: str, opening: Opening, *, now: float) -> tuple[Session, Pair]:
    """Make the record and the tokens of a new session."""
    seed = tokens.new_seed() if opening.refreshable else None
    pair = issue_tokens(handle, seed)
    session = Session(
        sub=opening.user.sub,
        client_id=opening.client.client_id,
        scope=opening.scope,
        aud=opening.client.audience,
        amr=opening.amr,
        vouched=opening.vouched,
        origin=opening.origin,
        device=opening.device and opening.device[:MAX_LABEL],
        ip=opening.ip,
        user_agent=opening.user_agent and label(opening.user_agent),
        created_ms=int(now * 1000),
        lifetimes=opening.lifetimes,
        epochs=opening.epochs or Epochs.of(opening.user, opening.client, opening.service),
        access=pair.access.digest,
        bearer=opening.origin == LOGIN and not opening.refreshable and not opening.cookie,
        refresh=pair.refresh_digest,
        seed=seed,
    )
    return session, pair


def reissue_tokens(session: Session, handle: str, *, now: float, lifetimes: Lifetimes) -> tuple[Session, Pair]:
    """Replace the tokens of a session whose user has just proved something. The old tokens stop at once.

    So do the tokens for which they were exchanged.
    """
    at = int(now)
    pair = issue_tokens(handle, session.seed)
    fresh = session.but(
        proved_at=at,
        issued_at=at,
        lifetimes=session.lifetimes._replace(access=lifetimes.access),
        access=pair.access.digest,
        access_scope=None,
        refresh=pair.refresh_digest,
        previous=None,
        # Nobody presents the refresh token here, so nobody can tell whether it has a MAC.
        spent=spent.with_one_more(session.spent, session.refresh) if session.refresh else session.spent,
        # An exchanged token that somebody stole before must not gain the strength of this proof either.
        exchange_seed=None,
        exchanged=(),
        used_at=max(session.seen, at),
    )
    return fresh, pair


def stepped_up(session: Session, client: Client, proven: tuple[str, ...], *, now: float) -> Session:
    """The session after its user has proved something again. What was proven before still counts.

    client: the client of the session. If it vouches for the session, this goes on: the level that it named stays.
    """
    before = session.authentication(client)
    amr = combined(before.amr, proven)
    if session.vouched is not None and before.vouched_by is not None:
        return session.but(vouched=Vouched.of(int(now), amr, session.vouched.acr or None))
    return session.but(amr=amr)
