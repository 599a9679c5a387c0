"""Exchanging a refresh token for the next pair (RFC 6749 section 6, RFC 9700 section 4.14)."""

from dataclasses import dataclass
from enum import Enum

from authsvc.core import refresh_token as refresh_tokens
from authsvc.core import token as tokens
from authsvc.core.grace import Grace, Previous
from authsvc.core.issuing import Pair
from authsvc.core.session import Session
from authsvc.core.spent import with_one_more
from authsvc.core.token import Kind, Token


class RefreshOutcome(Enum):
    """The possible results of presenting a refresh token."""

    ROTATED = "rotated"
    REPEATED = "repeated"
    REUSED = "reused"
    REUSED_ELSEWHERE = "reused elsewhere"
    FORGED = "forged"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One presentation of a refresh token.

    scope: of the new access token; None for the whole scope of the session.
    ip, user_agent: those of the caller.
    """

    now: float
    access_ttl_s: int
    grace_s: int
    scope: str | None = None
    ip: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Rotation:
    """The result of `rotate`: the records to store, and the pair to answer with, if any.

    session: None ends the session. grace: None if the store keeps none. grace_s: how long it lives from now.
    noted: whether the audit trail keeps this repeat.
    """

    outcome: RefreshOutcome
    session: Session | None
    grace: Grace | None = None
    grace_s: float = 0
    pair: Pair | None = None
    noted: bool = False


def rotate(session: Session, grace: Grace | None, spent: Token, attempt: Attempt) -> Rotation:
    """Decide about a refresh token that is presented.

    The current refresh token is rotated. The previous one gets the same pair again within its grace, because the first
    answer may have been lost. Once a token of that pair has been used, the answer arrived. Then only the network and
    user agent of the first refresh get the pair again. Any other spent token ends the session. A token that was never
    issued changes nothing: knowing a public handle must not be enough to end a session.
    """
    if session.refresh is None or session.seed is None:
        return Rotation(RefreshOutcome.FORGED, session, grace)
    if tokens.is_same_digest(session.refresh, spent.digest):
        return _rotated(session, session.seed, spent, attempt)
    if _is_within_grace(session, spent, attempt.now) and (repeated := _repeated(session, grace, spent, attempt)):
        return repeated
    if session.was_spent(spent):
        return Rotation(RefreshOutcome.REUSED, None)
    return Rotation(RefreshOutcome.FORGED, session, grace)


def _rotated(session: Session, seed: str, spent: Token, attempt: Attempt) -> Rotation:
    rotation_seed, at = tokens.new_seed(), int(attempt.now)
    pair = _derived(rotation_seed, seed, spent)
    genuine = refresh_tokens.is_genuine(seed, spent)
    rotated = session.but(
        access=pair.access.digest,
        refresh=pair.refresh_digest,
        issued_at=at,
        lifetimes=session.lifetimes._replace(access=attempt.access_ttl_s),
        access_scope=None if attempt.scope == session.scope else attempt.scope,
        previous=_previous(session, spent, at + attempt.grace_s),
        spent=session.spent if genuine else with_one_more(session.spent, spent.digest),
        used_at=max(session.seen, at),
    )
    ends = at + attempt.grace_s
    grace = Grace.begun(rotation_seed, attempt.ip, attempt.user_agent) if ends > attempt.now else None
    return Rotation(RefreshOutcome.ROTATED, rotated, grace, ends - attempt.now, pair)


def _previous(session: Session, spent: Token, until: int) -> Previous:
    return Previous(
        access=session.access,
        refresh=spent.digest,
        until=until,
        access_until=min(until, session.exp),
        access_scope=session.access_scope,
    )


def _is_within_grace(session: Session, spent: Token, now: float) -> bool:
    previous = session.previous
    return previous is not None and now < previous.until and tokens.is_same_digest(previous.refresh, spent.digest)


def _repeated(session: Session, grace: Grace | None, spent: Token, attempt: Attempt) -> Rotation | None:
    """Give the current pair again. None if it cannot be derived: then the store has dropped the grace."""
    seed, previous = session.seed, session.previous
    if seed is None or previous is None:
        return None
    if grace and _is_current(session, pair := _derived(grace.seed, seed, spent)):
        if previous.answered and not grace.is_from(attempt.ip, attempt.user_agent):
            return Rotation(RefreshOutcome.REUSED_ELSEWHERE, None)
        kept = grace.with_repeat()
        return Rotation(RefreshOutcome.REPEATED, session, kept, previous.until - attempt.now, pair, kept is not grace)
    # A worker of an earlier version derives both tokens from the seed of the session, and stores no grace.
    pair = Pair(*(tokens.successor(seed, spent, kind) for kind in (Kind.ACCESS, Kind.REFRESH)))
    return Rotation(RefreshOutcome.REPEATED, session, grace, pair=pair) if _is_current(session, pair) else None


def _is_current(session: Session, pair: Pair) -> bool:
    held = f"{session.access}{session.refresh}"
    return tokens.is_same_digest(held, f"{pair.access.digest}{pair.refresh_digest}")


def _derived(rotation_seed: str, seed: str, spent: Token) -> Pair:
    access = tokens.successor(rotation_seed, spent, Kind.ACCESS)
    return Pair(access, refresh_tokens.successor(rotation_seed, seed, spent))
