"""A session: one login, the record behind its tokens, and every way in which it changes.

The tokens are keys to the record, which holds only their digests. Transitions are pure: they take a record and the
time, and return a new record for the store to swap in.
"""

import hmac
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final, NamedTuple, Self

from authsvc.core import token as tokens
from authsvc.core.client import Client, Lifetimes
from authsvc.core.device import MAX_LABEL, label
from authsvc.core.record import Record, Service
from authsvc.core.token import Kind, Token
from authsvc.core.user import User

# Short digests of spent refresh tokens that are kept, newest last. An older one is refused like one never issued.
MAX_SPENT = 32
_SHORT = 8


class Reason(StrEnum):
    """Why a token is inactive. For the audit trail and for operators, never for the caller."""

    UNKNOWN = "unknown"
    FORGED = "secret never issued"
    SPENT = "spent"
    EXPIRED = "expired"
    IDLE = "expired idle"
    ENDED = "expired absolute"
    USER_GONE = "user deleted"
    USER_SUSPENDED = "user suspended"
    USER_CUT_OFF = "cut off by the user's epoch"
    CLIENT_GONE = "client deleted"
    CLIENT_CUT_OFF = "cut off by the client's epoch"
    SERVICE_CUT_OFF = "cut off by the service's epoch"


# How a session began: its user logged in, or a client that had authenticated the user asked for a token.
LOGIN: Final = "login"
ISSUED: Final = "issued"


class Epochs(NamedTuple):
    """The cut-offs as they stood when the login began; milliseconds."""

    user: int
    client: int
    service: int

    @classmethod
    def of(cls, user: User, client: Client, service: Service) -> Self:
        return cls(user.epoch, client.epoch, service.epoch)


class Previous(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Digests of the tokens before the current ones, and until when they are heard (epoch seconds).

    access_until: the grace prolongs no access token, and revives none that had expired before the refresh.
    """

    access: str
    refresh: str
    until: int
    access_until: int
    access_scope: str | None = None


# Names in the store are as short as they can be and still be understood: a million sessions pay for each letter.
# Tokens go by their prefixes.
_STORED = {
    "client_id": "cid",
    "user_agent": "ua",
    "created_ms": "at",
    "lifetimes": "for",
    "origin": "by",
    "access": "tok",
    "refresh": "ref",
}


class Session(Record, frozen=True, kw_only=True, omit_defaults=True, rename=_STORED):
    """The record `session:<handle>`. Times in epoch seconds, but for `created_ms`; digests by `token.digest`.

    lifetimes: of the current access token since it was issued, since `seen` (the last noted use), since the login.
    access_scope: of the current access token, where it was narrowed.
    proved_at, issued_at, used_at: None until they differ from the time of the login, see `auth_time`, `iat`, `seen`.
    seed: what successors of the refresh token are derived with. spent: short digests, run together.
    origin: how the session began, LOGIN or ISSUED; text, so that an older version can read what a newer one adds.
    """

    sub: str
    client_id: str
    scope: str = ""
    aud: tuple[str, ...] = ()
    amr: tuple[str, ...] = ()
    origin: str = LOGIN
    device: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    created_ms: int
    lifetimes: Lifetimes
    epochs: Epochs
    access: str
    proved_at: int | None = None
    issued_at: int | None = None
    used_at: int | None = None
    access_scope: str | None = None
    refresh: str | None = None
    seed: str | None = None
    previous: Previous | None = None
    spent: str = ""

    def __repr__(self) -> str:
        return f"Session(sub={self.sub!r}, client_id={self.client_id!r})"  # the seed is nobody's business

    def expires_at(self) -> int:
        return self.end

    @property
    def end(self) -> int:
        """The deadline that no use moves."""
        return self.created_ms // 1000 + self.lifetimes.session

    @property
    def exp(self) -> int:
        """When the current access token expires, if nothing ends it before."""
        began, lifetimes = self.created_ms // 1000, self.lifetimes
        issued = began if self.issued_at is None else self.issued_at
        return min(issued + lifetimes.access, began + lifetimes.session)

    @property
    def granted(self) -> str:
        """The scope of the current access token, which may have been narrowed."""
        return self.scope if self.access_scope is None else self.access_scope

    @property
    def logged_in(self) -> bool:
        """Whether the user proved something to begin this session."""
        # Earlier versions stored no origin. Their issued sessions have no amr: a missing origin alone proves nothing.
        return self.origin == LOGIN and bool(self.amr)

    @property
    def auth_time(self) -> int | None:
        """When the user last proved something here; None for an issued session whose user never did."""
        if self.proved_at is not None:
            return self.proved_at
        return self.created_ms // 1000 if self.logged_in else None

    @property
    def iat(self) -> int:
        """When the current access token was issued."""
        return self.created_ms // 1000 if self.issued_at is None else self.issued_at

    @property
    def seen(self) -> int:
        """The last use that was noted."""
        return self.created_ms // 1000 if self.used_at is None else self.used_at

    @property
    def idle_s(self) -> int:
        return self.lifetimes.idle

    @property
    def idle_deadline(self) -> int:
        return self.seen + self.lifetimes.idle

    def ended(self, now: float) -> Reason | None:
        if now >= self.end:
            return Reason.ENDED
        if now >= self.seen + self.lifetimes.idle:
            return Reason.IDLE
        return None

    def match(self, token: Token, now: float) -> "Match | Reason":
        """What this token stands for, or why it does not open the session right now. Compares in constant time."""
        presented = token.digest
        if token.kind is Kind.ACCESS:
            if hmac.compare_digest(self.access, presented):
                exp = self.exp
                return Match(self.granted, exp) if now < exp else Reason.EXPIRED
            previous = self.previous
            if previous and hmac.compare_digest(previous.access, presented):
                scope = self.scope if previous.access_scope is None else previous.access_scope
                return Match(scope, previous.access_until) if now < previous.access_until else Reason.SPENT
        elif token.kind is Kind.REFRESH and self.refresh:
            if hmac.compare_digest(self.refresh, presented):
                return Match(self.scope, self.end)
            if self.was_spent(token):
                return Reason.SPENT
        return Reason.FORGED

    def was_spent(self, token: Token) -> bool:
        """Whether this refresh token was current once; the last 32 generations are remembered."""
        short = token.short_digest
        spent = [self.spent[at : at + _SHORT] for at in range(0, len(self.spent), _SHORT)]
        return any([hmac.compare_digest(short, other) for other in spent])  # noqa: C419 - compares them all

    @property
    def touch_interval_s(self) -> int:
        """How far apart uses are noted: a twentieth of the idle time, at least a minute, at most half the idle time."""
        idle_s = self.lifetimes.idle
        return idle_s // 20 if idle_s >= 1200 else max(min(60, idle_s // 2), 1)

    def due_for_touch(self, now: float) -> bool:
        """Whether a use now is worth a write."""
        return now - self.seen >= self.touch_interval_s

    def recheck_at(self, now: float, exp: int) -> int:
        """When whoever caches an answer given now asks again, so that the idle deadline moves as if nobody cached.

        exp: of the token. The idle deadline is the one before this use, for a use may fail to be noted.
        """
        seen, interval_s = self.seen, self.touch_interval_s
        noted = int(now) if now - seen >= interval_s else seen
        return min(noted + interval_s, seen + self.lifetimes.idle, exp)

    def touched(self, now: float) -> Self:
        return self.but(used_at=max(self.seen, int(now)))


class Match(NamedTuple):
    """What a live token of a session stands for, if nothing else ends it."""

    scope: str
    exp: int


@dataclass(frozen=True, slots=True)
class Pair:
    """The tokens of a session in clear, on their one way out."""

    access: Token
    refresh: Token | None

    @property
    def refresh_digest(self) -> str | None:
        return self.refresh.digest if self.refresh else None


def issue_tokens(handle: str, *, refreshable: bool) -> Pair:
    """Make fresh tokens that descend from no earlier ones: for a new session and after a password change."""
    refresh = tokens.new(Kind.REFRESH, handle) if refreshable else None
    return Pair(tokens.new(Kind.ACCESS, handle), refresh)


@dataclass(frozen=True, slots=True)
class Opening:
    """What a new session begins with.

    user, client, service: as they were read before the user was authenticated, so that a cut-off since then holds.
    amr: how the user proved to be the one (RFC 8176); empty if ISSUED, for then nobody proved anything here.
    ip, user_agent: the user's own; None if another party is calling.
    """

    user: User
    client: Client
    service: Service
    lifetimes: Lifetimes
    refreshable: bool
    scope: str
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
        refresh=pair.refresh_digest,
        seed=tokens.new_seed() if pair.refresh else None,
    )
    return session, pair


class RefreshOutcome(Enum):
    """What presenting a refresh token came to."""

    ROTATED = "rotated"
    REPEATED = "repeated"
    REUSED = "reused"
    FORGED = "forged"


@dataclass(frozen=True, slots=True)
class Rotation:
    """The result of `rotate`: the record to store (None ends the session) and the pair to hand out, if any."""

    outcome: RefreshOutcome
    session: Session | None
    pair: Pair | None = None


def rotate(
    session: Session, spent: Token, *, now: float, access_ttl_s: int, grace_s: int, scope: str | None
) -> Rotation:
    """Exchange a refresh token (RFC 6749 section 6, RFC 9700 section 4.14).

    The current one is rotated. The one before it, within its grace, gets the very same pair again: the answer was lost.
    Any other that was once issued ends the session. One never issued changes nothing, or knowing a handle would be
    enough to throw somebody out. scope: of the new access token, None for all of the session's.
    """
    if session.refresh is None or session.seed is None:
        return Rotation(RefreshOutcome.FORGED, session)
    pair = Pair(
        tokens.successor(session.seed, spent, Kind.ACCESS),
        tokens.successor(session.seed, spent, Kind.REFRESH),
    )
    if hmac.compare_digest(session.refresh, spent.digest):
        at = int(now)
        rotated = session.but(
            access=pair.access.digest,
            refresh=pair.refresh_digest,
            issued_at=at,
            lifetimes=session.lifetimes._replace(access=access_ttl_s),
            access_scope=None if scope == session.scope else scope,
            previous=Previous(
                access=session.access,
                refresh=session.refresh,
                until=at + grace_s,
                access_until=min(at + grace_s, session.exp),
                access_scope=session.access_scope,
            ),
            spent=(session.spent + spent.short_digest)[-MAX_SPENT * _SHORT :],
            used_at=max(session.seen, at),
        )
        return Rotation(RefreshOutcome.ROTATED, rotated, pair)
    previous = session.previous
    if previous and hmac.compare_digest(previous.refresh, spent.digest) and now < previous.until:
        return Rotation(RefreshOutcome.REPEATED, session, pair)
    if session.was_spent(spent):
        return Rotation(RefreshOutcome.REUSED, None)
    return Rotation(RefreshOutcome.FORGED, session)


def reissue_tokens(session: Session, handle: str, *, now: float, lifetimes: Lifetimes) -> tuple[Session, Pair]:
    """Replace the tokens of a session whose owner has just proved the password again; the old ones stop at once."""
    at = int(now)
    pair = issue_tokens(handle, refreshable=session.refresh is not None)
    spent = session.spent + (session.refresh or "")[:_SHORT]
    fresh = session.but(
        proved_at=at,
        issued_at=at,
        lifetimes=session.lifetimes._replace(access=lifetimes.access),
        access=pair.access.digest,
        access_scope=None,
        refresh=pair.refresh_digest,
        seed=tokens.new_seed() if pair.refresh else None,
        previous=None,
        spent=spent[-MAX_SPENT * _SHORT :],
        used_at=max(session.seen, at),
    )
    return fresh, pair


class Found(NamedTuple):
    """Everything a decision needs, as read from the store at this moment."""

    handle: str
    session: Session
    user: User | None
    client: Client | None
    service: Service


class Active(NamedTuple):
    """The token speaks for its subject right now."""

    handle: str
    kind: Kind
    scope: str
    exp: int
    session: Session
    user: User
    client: Client


class Inactive(NamedTuple):
    """The token speaks for nobody, for this reason."""

    reason: Reason


def inactive_reason(found: Found, now: float) -> Reason | None:
    """Why no token of this session can be active right now; None if one can."""
    session, user, client = found.session, found.user, found.client
    if ended := session.ended(now):
        return ended
    if user is None:
        return Reason.USER_GONE
    if user.status != "active":
        return Reason.USER_SUSPENDED
    if client is None:
        return Reason.CLIENT_GONE
    if session.epochs.service != found.service.epoch:
        return Reason.SERVICE_CUT_OFF
    if session.epochs.client != client.epoch:
        return Reason.CLIENT_CUT_OFF
    if not user.admits(found.handle, session.epochs.user):
        return Reason.USER_CUT_OFF
    return None


def decide(found: Found, token: Token, now: float) -> Active | Inactive:
    """Whether a token is active. Every way out but the last line is a no."""
    match = found.session.match(token, now)
    if isinstance(match, Reason):
        return Inactive(match)
    reason = inactive_reason(found, now)
    if reason is not None:
        return Inactive(reason)
    handle, session, user, client, _ = found
    if user is None or client is None:  # what `inactive_reason` has said already, for the type checker to see
        return Inactive(Reason.UNKNOWN)
    return Active(handle, token.kind, match.scope, match.exp, session, user, client)
