"""A session: the record behind the tokens of one login, and the decision whether a token is active.

The record holds only the digests of its tokens. `core/issuing.py` and `core/rotation.py` have the ways in which its
tokens change.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

from authsvc.core import exchanged, spent
from authsvc.core import refresh_token as refresh_tokens
from authsvc.core import scope as scopes
from authsvc.core.address import Network, is_within, network_of
from authsvc.core.authentication import Authentication, Vouched, level
from authsvc.core.client import Client, Lifetimes
from authsvc.core.exchanged import Chain, Exchanged
from authsvc.core.grace import Previous
from authsvc.core.reason import Reason
from authsvc.core.record import Record, Service
from authsvc.core.token import BEARER, Kind, Token, is_same_digest
from authsvc.core.user import User
from authsvc.errors import StoreUnavailable

# How a session began: its user logged in, a client that had authenticated the user asked for a token, a client asked
# for a token of its own, or a program got a key.
LOGIN: Final = "login"
ISSUED: Final = "issued"
CLIENT: Final = "client"
KEY: Final = "key"
# What introspection calls the tokens of programs.
_USES: Final = {CLIENT: "client", KEY: "key"}
# How often uses of a session without an idle end are written down.
_TOUCH_S: Final = 3600


class Epochs(NamedTuple):
    """The epochs of user, client and service when the login began, in milliseconds."""

    user: int  # of a key: the epoch of the user's keys
    client: int
    service: int

    @classmethod
    def of(cls, user: User, client: Client, service: Service) -> Self:
        return cls(user.epoch, client.epoch, service.epoch)


# Names in the store are short, because a million sessions pay for each letter. Tokens go by their prefixes.
_STORED = {
    "client_id": "cid",
    "user_agent": "ua",
    "created_ms": "at",
    "lifetimes": "for",
    "origin": "by",
    "access": "tok",
    "vouched": "how",
    "networks": "net",
    "refresh": "ref",
    "exchange_seed": "xs",
    "exchanged": "ex",
}


class Session(Record, frozen=True, kw_only=True, omit_defaults=True, rename=_STORED):
    """The record `session:<handle>`. Times are epoch seconds, except `created_ms`. Digests are made by `token.digest`.

    scope: of the session. access_scope: of the current access token, if a refresh narrowed it.

    lifetimes: `access` counts from the issue of the access token, `idle` from `seen`, and `session` from the login.

    An `idle` of 0 means no idle end. `core/api_key.py` says what the fields of a key hold.

    origin: LOGIN, ISSUED, CLIENT or KEY. It is text, so that an older version can read a newer origin.

    bearer: whether the token was returned in a body though it has no refresh token. The token of a login without this
    mark and without a refresh token is in the cookie only.

    vouched: how the user was authenticated elsewhere, by the word of the client that asked for the session.

    proved_at, issued_at, used_at: None while they equal the time of the login. See `auth_time`, `iat` and `seen`.

    networks: the only networks from which its token may be used. Empty: all.

    seed: the key of the MAC in the refresh tokens. It is the same for the whole session.

    spent: the short digests of spent refresh tokens without a MAC as one string, the newest last.

    exchanged: the tokens that clients got in exchange for its tokens. exchange_seed: from which these are derived.
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
    bearer: bool = False
    vouched: Vouched | None = None
    proved_at: int | None = None
    issued_at: int | None = None
    used_at: int | None = None
    access_scope: str | None = None
    networks: tuple[str, ...] = ()
    refresh: str | None = None
    seed: str | None = None
    previous: Previous | None = None
    spent: str = ""
    exchange_seed: str | None = None
    exchanged: tuple[Exchanged, ...] = ()

    def __repr__(self) -> str:
        return f"Session(sub={self.sub!r}, client_id={self.client_id!r})"  # without the seeds, which are secret

    def expires_at(self) -> int:
        return self.end

    @property
    def began(self) -> int:
        return self.created_ms // 1000

    @property
    def end(self) -> int:
        """The absolute deadline, which no use moves."""
        return self.created_ms // 1000 + self.lifetimes.session

    @property
    def exp(self) -> int:
        """When the current access token expires."""
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
    def token_use(self) -> str | None:
        """What kind of token it has, other than that of a user's session."""
        return _USES.get(self.origin)

    @property
    def in_cookie(self) -> bool:
        """Whether the token is in the cookie only, so that no resource server was sent it as a bearer token."""
        return self.logged_in and self.refresh is None and not self.bearer

    @property
    def client_ids(self) -> tuple[str, ...]:
        """The clients on which its tokens depend: its own, and those that exchanged them."""
        return (self.client_id, *{one.client_id for one in self.exchanged}) if self.exchanged else (self.client_id,)

    def exp_of(self, chain: Chain) -> int:
        """When an exchanged token expires."""
        return exchanged.expires_at(chain, self.began, self.end)

    def scope_of(self, one: Exchanged) -> str:
        return scopes.masked(self.scope, one.words)

    def is_for(self, audience: str) -> bool:
        """Whether the tokens are for this resource server."""
        return not self.aud or audience in self.aud

    @property
    def auth_time(self) -> int | None:
        """When the user last proved something here; None for an issued session whose user never did."""
        if self.proved_at is not None:
            return self.proved_at
        return self.created_ms // 1000 if self.logged_in else None

    def authentication(self, client: Client | None) -> Authentication:
        """When and how the user was authenticated. The word of the session's client counts while it may vouch."""
        if self.vouched is not None and client is not None and client.may("vouch"):
            return self.vouched.by(client.client_id)
        return Authentication(self.auth_time, self.amr, level(self.amr))

    @property
    def iat(self) -> int:
        """When the current access token was issued."""
        return self.created_ms // 1000 if self.issued_at is None else self.issued_at

    @property
    def seen(self) -> int:
        """The last use that was written down."""
        return self.created_ms // 1000 if self.used_at is None else self.used_at

    @property
    def idle_s(self) -> int:
        return self.lifetimes.idle

    @property
    def idle_deadline(self) -> int:
        """When the session ends if it is not used, at the latest with its absolute deadline."""
        idle = self.lifetimes.idle
        return self.seen + idle if idle else self.end

    def ended(self, now: float) -> Reason | None:
        if now >= self.end:
            return Reason.ENDED
        idle = self.lifetimes.idle
        if idle and now >= self.seen + idle:
            return Reason.IDLE
        return None

    def match(self, token: Token, now: float) -> "Match | Reason":
        """The rights of the token, or why it does not open the session now. Compares digests in constant time."""
        presented = token.digest
        if token.kind in BEARER:
            if is_same_digest(self.access, presented):
                exp = self.exp
                return Match(self.granted, exp) if now < exp else Reason.EXPIRED
            previous = self.previous
            if previous and is_same_digest(previous.access, presented):
                scope = self.scope if previous.access_scope is None else previous.access_scope
                return Match(scope, previous.access_until, False) if now < previous.access_until else Reason.SPENT
            if self.exchanged and (chain := exchanged.find(self.exchanged, presented)):
                return self._match_exchanged(chain, now)
        elif token.kind is Kind.REFRESH and self.refresh is not None:
            if is_same_digest(self.refresh, presented):
                return Match(self.scope, self.end)
            if self.was_spent(token):
                return Reason.SPENT
        return Reason.FORGED

    def chain_of(self, token: Token) -> Chain:
        """The exchanged token that this is, with those from which it comes. Empty for any other token."""
        return exchanged.find(self.exchanged, token.digest) if self.exchanged else ()

    def _match_exchanged(self, chain: Chain, now: float) -> "Match | Reason":
        if exchanged.has_ended(chain):
            return Reason.REVOKED
        exp = self.exp_of(chain)
        return Match(self.scope_of(chain[0]), exp, False, chain) if now < exp else Reason.EXPIRED

    def was_spent(self, token: Token) -> bool:
        """Whether the session issued this refresh token, which is not the current one."""
        genuine = self.seed is not None and refresh_tokens.is_genuine(self.seed, token)
        return genuine or spent.contains(self.spent, token)

    def with_answer(self, access: str) -> Self:
        """The session after a use of a current token. access: the digest of the current access token at that use."""
        if self.previous is None or self.previous.answered or not is_same_digest(self.access, access):
            return self
        return self.but(previous=self.previous.but(answered=True))

    @property
    def touch_interval_s(self) -> int:
        """How often uses are written down: each twentieth of the idle time, but at least a minute apart.

        With an idle time below two minutes, each half of it. Without an idle end, each hour.
        """
        idle_s = self.lifetimes.idle
        if not idle_s:
            return _TOUCH_S
        return idle_s // 20 if idle_s >= 1200 else max(min(60, idle_s // 2), 1)

    def due_for_touch(self, now: float) -> bool:
        """Whether a use now has to be written down."""
        return now - self.seen >= self.touch_interval_s

    def recheck_at(self, now: float, exp: int) -> int:
        """When a cache has to ask again, so that the idle deadline moves as it would without a cache.

        exp: of the token. The idle deadline is the one before this use, because writing the use down may fail.
        """
        seen, interval_s = self.seen, self.touch_interval_s
        noted = int(now) if now - seen >= interval_s else seen
        return min(noted + interval_s, self.idle_deadline, exp)

    def touched(self, now: float, ip: str | None = None) -> Self:
        """The session after a use. ip: from where a key was used; other sessions keep the address of their login."""
        return self.but(used_at=max(self.seen, int(now)), ip=ip if self.origin == KEY else self.ip)

    def admits_from(self, ip: str | None) -> bool:
        """Whether its token may be used from this address. None: the address is not known."""
        return not self.networks or is_within(ip, _parsed(self.networks))


@lru_cache(maxsize=1024)
def _parsed(networks: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(map(network_of, networks))


class Match(NamedTuple):
    """The rights of a token whose digest matches. exp: its expiry.

    current: False for the previous access token and for exchanged tokens. chain: of an exchanged token.
    """

    scope: str
    exp: int
    current: bool = True
    chain: Chain = ()


class Found(NamedTuple):
    """Everything that a decision needs, as read from the store at one moment.

    exchangers: the clients of its exchanged tokens that were read. None: the client is not registered.
    """

    handle: str
    session: Session
    user: User | None
    client: Client | None
    service: Service
    exchangers: Mapping[str, Client | None] = MappingProxyType({})

    @property
    def owner(self) -> User | None:
        """For whom its tokens speak: the user, or the client itself."""
        if self.session.origin == CLIENT:
            return None if self.client is None else self.client.itself
        return self.user


class Active(NamedTuple):
    """The token speaks for its user now.

    user: the user, or what stands for a client that speaks for itself.
    current: False for the previous access token and for exchanged tokens. chain: of an exchanged token.
    """

    handle: str
    scope: str
    exp: int
    session: Session
    user: User
    client: Client
    current: bool
    chain: Chain = ()

    @property
    def client_id(self) -> str:
        """The client to which the token was issued."""
        return self.chain[0].client_id if self.chain else self.session.client_id

    @property
    def client_ids(self) -> tuple[str, ...]:
        """The clients on which the token depends, that of the session first."""
        return (self.session.client_id, *(one.client_id for one in self.chain))

    @property
    def iat(self) -> int:
        """When the token was issued."""
        return self.session.began + self.chain[0].issued if self.chain else self.session.iat

    @property
    def aud(self) -> tuple[str, ...]:
        """The resource servers that the token is for; empty for all of them."""
        return exchanged.audience_of(self.chain, self.session.aud)

    @property
    def token_use(self) -> str | None:
        """What kind of token it is, other than that of a user's session."""
        return "exchanged" if self.chain else self.session.token_use

    @property
    def act(self) -> dict[str, Any]:
        """The clients that act for the user with an exchanged token (RFC 8693 section 4.1); empty for others."""
        return exchanged.act_of(self.chain)


class Inactive(NamedTuple):
    """The token does not speak for anybody, for this reason."""

    reason: Reason


def inactive_reason(found: Found, now: float) -> Reason | None:
    """Why every token of this session is inactive now; None if a token can be active."""
    session, user, client = found.session, found.owner, found.client
    if ended := session.ended(now):
        return ended
    if client is None and session.origin == CLIENT:
        return Reason.CLIENT_GONE
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
    if session.origin == KEY:
        return None if user.admits_key(session.epochs.user) else Reason.KEYS_CUT_OFF
    if not user.admits(found.handle, session.epochs.user):
        return Reason.USER_CUT_OFF
    return None


def exchanger_reason(found: Found, chain: Chain) -> Reason | None:
    """Why an exchanged token is inactive because of the clients that exchanged; None if they are as they were.

    Raises StoreUnavailable if the record of such a client was not read.
    """
    for one in chain:
        if one.client_id not in found.exchangers:
            raise StoreUnavailable("a record was not read")
        client = found.exchangers[one.client_id]
        if client is None:
            return Reason.CLIENT_GONE
        if client.epoch != one.epoch:
            return Reason.CLIENT_CUT_OFF
    return None


def decide(found: Found, token: Token, now: float, ip: str | None = None) -> Active | Inactive:
    """Decide whether a token is active. Only the last line says yes. Raises StoreUnavailable.

    ip: from where the token is used; None if that is not known.
    """
    match = found.session.match(token, now)
    if isinstance(match, Reason):
        return Inactive(match)
    reason = inactive_reason(found, now) or exchanger_reason(found, match.chain)
    if reason is not None:
        return Inactive(reason)
    if not found.session.admits_from(ip):
        return Inactive(Reason.OUTSIDE)
    user, client = found.owner, found.client
    if user is None or client is None:  # for the type checker: `inactive_reason` refuses both
        return Inactive(Reason.UNKNOWN)
    return Active(found.handle, match.scope, match.exp, found.session, user, client, match.current, match.chain)
