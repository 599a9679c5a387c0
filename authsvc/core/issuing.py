"""Issuing the tokens of a session: when it begins, at each refresh, and after a password change.

The functions are pure but for randomness: they return a new record for the store to swap in, and the tokens in clear.
"""

from dataclasses import dataclass
from enum import Enum

from authsvc.core import token as tokens
from authsvc.core.client import Client, Lifetimes
from authsvc.core.device import MAX_LABEL, label
from authsvc.core.record import Service
from authsvc.core.session import LOGIN, Epochs, Previous, Session
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


def issue_tokens(handle: str, *, refreshable: bool) -> Pair:
    """Make tokens that are independent of all earlier ones: for a new session and after a password change."""
    refresh = tokens.new(Kind.REFRESH, handle) if refreshable else None
    return Pair(tokens.new(Kind.ACCESS, handle), refresh)


@dataclass(frozen=True, slots=True)
class Opening:
    """The contents of a new session.

    user, client, service: as read before the user was authenticated. A cut-off since then ends the new session too.
    amr: how the user proved who they are (RFC 8176). It is empty for ISSUED sessions, which prove nothing here.
    cookie: whether the token goes into the cookie, and into no body.
    ip, user_agent: those of the user. None if another program asks for the session.
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
    device: str | None = None
    ip: str | None = None
    user_agent: str | None = None


def begin(handle: str, opening: Opening, *, now: float) -> tuple[Session, Pair]:
    """Make the record and the tokens of a new session."""
    pair = issue_tokens(handle, refreshable=opening.refreshable)
    session = Session(
        sub=opening.user.sub,
        client_id=opening.client.client_id,
        scope=opening.scope,
        aud=opening.client.audience,
        amr=opening.amr,
        origin=opening.origin,
        device=opening.device and opening.device[:MAX_LABEL],
        ip=opening.ip,
        user_agent=opening.user_agent and label(opening.user_agent),
        created_ms=int(now * 1000),
        lifetimes=opening.lifetimes,
        epochs=Epochs.of(opening.user, opening.client, opening.service),
        access=pair.access.digest,
        bearer=opening.origin == LOGIN and not opening.refreshable and not opening.cookie,
        refresh=pair.refresh_digest,
        seed=tokens.new_seed() if pair.refresh else None,
    )
    return session, pair


class RefreshOutcome(Enum):
    """The possible results of presenting a refresh token."""

    ROTATED = "rotated"
    REPEATED = "repeated"
    REUSED = "reused"
    FORGED = "forged"


@dataclass(frozen=True, slots=True)
class Rotation:
    """The result of `rotate`: the record to store (None ends the session) and the pair to answer with, if any."""

    outcome: RefreshOutcome
    session: Session | None
    pair: Pair | None = None


def rotate(
    session: Session, spent: Token, *, now: float, access_ttl_s: int, grace_s: int, scope: str | None
) -> Rotation:
    """Exchange a refresh token (RFC 6749 section 6, RFC 9700 section 4.14).

    The current refresh token is rotated. The previous one gets the same pair again within its grace, because the first
    answer may have been lost. An older one ends the session. A token that was never issued changes nothing: knowing a
    public handle must not be enough to end a session.

    scope: of the new access token; None for the whole scope of the session.
    """
    if session.refresh is None or session.seed is None:
        return Rotation(RefreshOutcome.FORGED, session)
    pair = Pair(
        tokens.successor(session.seed, spent, Kind.ACCESS),
        tokens.successor(session.seed, spent, Kind.REFRESH),
    )
    if tokens.is_same_digest(session.refresh, spent.digest):
        at = int(now)
        rotated = session.but(
            access=pair.access.digest,
            refresh=pair.refresh_digest,
            issued_at=at,
            lifetimes=session.lifetimes._replace(access=access_ttl_s),
            access_scope=None if scope == session.scope else scope,
            previous=_previous(session, session.refresh, at + grace_s),
            spent=session.spent_with_current(),
            used_at=max(session.seen, at),
        )
        return Rotation(RefreshOutcome.ROTATED, rotated, pair)
    previous = session.previous
    if previous and tokens.is_same_digest(previous.refresh, spent.digest) and now < previous.until:
        return Rotation(RefreshOutcome.REPEATED, session, pair)
    if session.was_spent(spent):
        return Rotation(RefreshOutcome.REUSED, None)
    return Rotation(RefreshOutcome.FORGED, session)


def _previous(session: Session, refresh: str, until: int) -> Previous:
    return Previous(
        access=session.access,
        refresh=refresh,
        until=until,
        access_until=min(until, session.exp),
        access_scope=session.access_scope,
    )


def reissue_tokens(session: Session, handle: str, *, now: float, lifetimes: Lifetimes) -> tuple[Session, Pair]:
    """Replace the tokens of a session whose user has just proved the password. The old tokens stop at once."""
    at = int(now)
    pair = issue_tokens(handle, refreshable=session.refresh is not None)
    fresh = session.but(
        proved_at=at,
        issued_at=at,
        lifetimes=session.lifetimes._replace(access=lifetimes.access),
        access=pair.access.digest,
        access_scope=None,
        refresh=pair.refresh_digest,
        seed=tokens.new_seed() if pair.refresh else None,
        previous=None,
        spent=session.spent_with_current(),
        used_at=max(session.seen, at),
    )
    return fresh, pair
