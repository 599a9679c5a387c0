"""A registered OAuth client: its secrets, its permissions, and the lifetimes of its sessions."""

import re
from collections.abc import Collection
from typing import Final, Literal, NamedTuple, Self

from authsvc.core.record import Part, Record, raised
from authsvc.core.token import digest, is_same_digest
from authsvc.core.user import User, check_roles

# The client of logins that name none. The first start makes it.
BUILT_IN = "app"

CLIENT_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

Permission = Literal["introspect", "revoke", "issue", "vouch", "reset", "client_ip", "token", "exchange", "admin"]
# Versions before format 3 do not know these.
_OF_FORMAT_3: Final = frozenset({"vouch", "token", "exchange"})


class Lifetimes(NamedTuple):
    """Seconds. `access`: of an access token; `idle`: since the last use; `session`: since the login."""

    access: int
    idle: int
    session: int


# Sessions with a refresh token live on the user's own devices. Sessions without one (cookies) live in browsers.
REFRESHABLE = Lifetimes(access=15 * 60, idle=14 * 86400, session=30 * 86400)
BROWSER = Lifetimes(access=12 * 3600, idle=30 * 60, session=12 * 3600)


class Secret(Part, frozen=True, kw_only=True, omit_defaults=True):
    """The stored form of a client secret. `until`: epoch seconds, None while it is the current one."""

    hidden = Record.hidden | {"digest"}

    digest: str
    until: int | None = None


class Client(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A client as registered. Lifetimes are None where the defaults apply. `epoch`: milliseconds.

    audience: the resource servers that its tokens are for. The client may introspect tokens for these.
    exchange_audience: further resource servers, for which it may exchange tokens that it was sent.
    scope: the widest scope that it can get (RFC 7591). None: any, except for the built-in client. See `widest_scope`.
    issue_roles: the roles that it may set at `POST /tokens`. None: see `may_set_roles_of`.
    acr: `aal2` demands a second factor of every user of this client.
    """

    client_id: str
    name: str
    public: bool = False
    secrets: tuple[Secret, ...] = ()
    permissions: tuple[Permission, ...] = ()
    audience: tuple[str, ...] = ()
    exchange_audience: tuple[str, ...] = ()
    scope: str | None = None
    issue_roles: tuple[str, ...] | None = None
    access_ttl_s: int | None = None
    idle_ttl_s: int | None = None
    session_ttl_s: int | None = None
    refresh: bool = True
    acr: Literal["aal2"] | None = None
    epoch: int
    created_at: int

    def opens_with(self, secret: str, now: float) -> bool:
        """Whether this is a valid secret of the client."""
        return self.holds(digest(secret), now)

    def holds(self, presented: str, now: float) -> bool:
        """Whether this is the digest of a valid secret. Compares with all secrets, in constant time."""
        found = False
        for stored in self.secrets:
            alive = stored.until is None or now < stored.until
            found |= is_same_digest(stored.digest, presented) and alive
        return found

    def with_secret(self, new: str, now: float, overlap_s: int) -> Self:
        """The client with a new secret. The last secret stays valid for the overlap; there are never more than two."""
        last = [s.but(until=int(now) + overlap_s) for s in self.secrets if s.until is None and overlap_s]
        return self.but(secrets=(Secret(digest=digest(new)), *last))

    def cut_off(self, now: float) -> Self:
        """The client after all its sessions have ended."""
        return self.but(epoch=raised(self.epoch, now))

    def admin_entry(self) -> str | None:
        return f"client:{self.client_id}" if self.may("admin") else None

    def needs_format(self) -> int:
        # A permission that a version does not know makes the record unreadable for it. A version that does not know
        # `acr` would let users in with a password alone.
        if not _OF_FORMAT_3.isdisjoint(self.permissions) or self.acr is not None:
            return 3
        return 2 if self.may("client_ip") else 1

    @property
    def itself(self) -> User:
        """For whom its own tokens speak (RFC 6749 section 4.4). It has no roles, and is no user of the service."""
        return User(sub=self.client_id, epoch=0, created_at=self.created_at)

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions

    @property
    def speaks_for_admins(self) -> bool:
        """Whether its tokens may be for admins, and have their power."""
        return self.may("issue") and self.may("vouch") and self.may("admin")

    def may_set(self, role: str, guarded: Collection[str]) -> bool:
        """Whether it may give and take this role at `POST /tokens`. guarded: the roles that give power over others."""
        if role in guarded and not self.speaks_for_admins:
            return False
        return self.issue_roles is None or role in self.issue_roles

    def may_set_roles_of(self, user: User) -> bool:
        """Whether it may change roles of this user, who has no account here.

        A client with `issue_roles` changes these roles only, so it may change them for every user. A client without
        that list may change almost any role, so only those of its own users, and of users from before `created_by`.
        """
        return self.may("admin") or self.issue_roles is not None or user.created_by in (None, self.client_id)

    def with_roles_set(
        self, held: tuple[str, ...], wanted: tuple[str, ...], guarded: Collection[str]
    ) -> tuple[str, ...]:
        """The roles after it has set `wanted`. Roles that it may not set stay. Raises InvalidRequest."""
        kept = tuple(role for role in held if not self.may_set(role, guarded))
        merged = check_roles((*kept, *wanted))
        return held if set(merged) == set(held) else merged

    def widest_scope(self, app_scope: str) -> str | None:
        """The widest scope that it can get; None: any. Everybody may call as the built-in client, so `app_scope` bounds
        that client, if its record says nothing.
        """
        return app_scope if self.scope is None and self.client_id == BUILT_IN else self.scope

    def may_exchange(self, audience: tuple[str, ...]) -> bool:
        """Whether it may exchange a token for `audience`: it may introspect it, and is among those it is for."""
        return self.may("exchange") and self.covers(audience) and (not audience or bool(self.audience))

    def covers(self, audience: tuple[str, ...]) -> bool:
        """Whether this client may introspect a token for `audience`: it has no audience, or they share a member."""
        return not self.audience or not set(self.audience).isdisjoint(audience)

    def lifetimes(self, *, refreshable: bool, cookie: bool = False) -> Lifetimes:
        """The lifetimes of a new session of this client. The token in a cookie lives as long as the session."""
        default = REFRESHABLE if refreshable else BROWSER
        session = self.session_ttl_s or default.session
        # Without a refresh token the access token lives as long as the session, unless the client sets another time.
        access = session if cookie else self.access_ttl_s or (default.access if refreshable else session)
        return Lifetimes(min(access, session), min(self.idle_ttl_s or default.idle, session), session)
