"""The bodies of answers, and how each is made from the records. No `repr` shows a secret."""

from typing import Any, Literal, Self

from msgspec.structs import asdict
from pydantic import Field, RootModel

from authsvc.api.schemas.fields import Answer, Handle
from authsvc.core.client import Client, Permission
from authsvc.core.factors import Factors as HeldFactors
from authsvc.core.factors import Totp
from authsvc.core.passkey import Passkey
from authsvc.core.user import User
from authsvc.flows.all_sessions import Live
from authsvc.flows.directory import UserState
from authsvc.flows.grants import Grant
from authsvc.flows.sessions import SessionStatus
from authsvc.flows.trail import Names
from authsvc.store.audit import StoredEntry


class Problem(Answer):
    """The shape of every error (RFC 6749 section 5.2)."""

    error: str = Field(examples=["invalid_request"])
    error_description: str = Field(
        description="for developers; holds no value of the request",
        json_schema_extra={"pattern": r"^[\x20-\x21\x23-\x5b\x5d-\x7e]*$"},
        examples=["username: required"],
    )
    auth_session: str | None = Field(
        None, description="of `insufficient_authorization`: names the login in progress in its next step", repr=False
    )
    methods: list[str] | None = Field(
        None, description="of `insufficient_authorization`: `passkey`, `totp`, `recovery`, or `enrol` for a new factor"
    )
    expires_in: int | None = Field(None, description="of `insufficient_authorization`: seconds for the next steps")


class Tokens(Answer):
    """RFC 6749 section 5.1."""

    access_token: str | None = Field(None, description="absent in cookie mode", repr=False)
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a name
    expires_in: int = Field(description="seconds")
    refresh_token: str | None = Field(
        None, description="absent in cookie mode, and for clients without refresh", repr=False
    )
    scope: str | None = Field(None, description="absent if empty", exclude_if=lambda scope: not scope)
    session_id: Handle
    issued_token_type: str | None = Field(None, description="of a token exchange (RFC 8693 section 2.2.1)")
    device_token: str | None = Field(
        None, description="of a trusted device; absent in cookie mode", repr=False, examples=["dev_…"]
    )
    recovery_codes: list[str] | None = Field(
        None, description="shown this once, when the first factor is confirmed", repr=False
    )
    recovery_codes_left: int | None = Field(
        None, description="after a step by a second factor; offer new ones when fewer than 3 are left"
    )

    @classmethod
    def of(cls, grant: Grant, *, hidden: bool = False) -> "Tokens":
        return cls(
            access_token=None if hidden else grant.access_token,
            expires_in=grant.expires_in,
            refresh_token=None if hidden else grant.refresh_token,
            scope=grant.scope,
            session_id=grant.session_id,
        )


class StepUp(Answer):
    auth_session: str = Field(description="names the step-up in its next step", repr=False, examples=["aut_…"])
    methods: list[str] = Field(description="any one of them", examples=[["totp", "recovery"]])
    expires_in: int = Field(description="seconds")


class FactorView(Answer):
    """A second factor. Times in epoch seconds."""

    id: Handle
    kind: Literal["totp", "passkey"]
    name: str | None = Field(None, description="absent if the user gave none")
    created_at: int
    last_used_at: int | None = Field(None, description="absent until the first use")
    synced: bool | None = Field(None, description="of a passkey: whether it may be copied between devices")

    @classmethod
    def of(cls, held: Totp | Passkey) -> Self:
        synced = held.synced if isinstance(held, Passkey) else None
        return cls(
            id=held.id,
            kind="totp" if isinstance(held, Totp) else "passkey",
            name=held.name,
            created_at=held.created_at,
            last_used_at=held.used_at,
            synced=synced,
        )


class ConfirmedFactor(FactorView):
    recovery_codes: list[str] | None = Field(None, description="of the first factor; shown this once", repr=False)

    @classmethod
    def with_codes(cls, app: Totp | Passkey, codes: tuple[str, ...]) -> Self:
        return cls.of(app).model_copy(update={"recovery_codes": list(codes) or None})


class ConfirmedOrTokens(RootModel[ConfirmedFactor | Tokens]):
    """The factor; or, if the enrolment completes a login, the answer of `POST /login`."""


class Factors(Answer):
    items: list[FactorView]
    recovery_codes_left: int = Field(description="make new ones when fewer than 3 are left")
    next: None = Field(None, description="a user's factors are few, so there is one page")

    @classmethod
    def of(cls, held: HeldFactors) -> "Factors":
        factors: list[Totp | Passkey] = [*held.passkeys, *held.apps]
        return cls(items=[FactorView.of(one) for one in factors], recovery_codes_left=len(held.codes))


class TotpEnrolment(Answer):
    id: Handle
    secret: str = Field(description="base32, for typing; shown this once", repr=False)
    uri: str = Field(description="`otpauth://`, for a QR code; shown this once", repr=False)


class RecoveryCodes(Answer):
    recovery_codes: list[str] = Field(description="each counts once; shown this once", repr=False)


class Cacheable(Answer):
    recheck_at: int
    clients: list[str] = Field(description="the answer depends on these clients too, besides its `client_id`")


class Introspection(Answer):
    """RFC 7662 section 2.2; an inactive token has `active` only."""

    active: bool
    sub: str | None = None
    username: str | None = None
    client_id: str | None = None
    scope: str | None = None
    token_type: Literal["Bearer"] | None = None
    exp: int | None = None
    iat: int | None = None
    iss: str | None = None
    aud: str | list[str] | None = Field(None, description="one audience as a string, several as a list")
    roles: list[str] | None = None
    claims: dict[str, Any] | None = None
    session_id: str | None = None
    token_use: str | None = Field(
        None,
        description="`client` for a client's own token, whose `sub` is its `client_id`; `key` for a key; `exchanged` "
        "for a token that its `client_id` got in exchange for another; absent for sessions",
    )
    act: dict[str, Any] | None = Field(
        None,
        description="of an exchanged token: the client that acts for the user, as `sub`, and inside of it the client "
        "that exchanged before (RFC 8693 section 4.1)",
    )
    auth_time: int | None = Field(
        None, description="when the user was authenticated; absent if nobody told this service"
    )
    amr: list[str] | None = Field(None, description="how the user was authenticated (RFC 8176)")
    acr: str | None = Field(
        None, description="`aal1` for one factor, `aal2` for two; a client that vouches may name another level"
    )
    vouched_by: str | None = Field(
        None, description="the client by whose word the user was authenticated elsewhere; absent after a login here"
    )
    version: int | None = Field(
        None, description="of the user; every change to roles, claims, name or status raises it"
    )
    recheck_at: int | None = Field(
        None,
        description="epoch seconds; until then a cached answer does not let the idle timeout lapse; exchanged tokens "
        "have `cache` instead. Without both, the answer must not be cached: it depends on `ip`",
    )
    cache: Cacheable | None = Field(
        None, description="of an exchanged token: what a cache has to know (`docs/events.md`)"
    )


class Introspections(RootModel[list[Introspection]]):
    """One answer for each token, in their order."""


class SessionView(Answer):
    """A session as its owner sees it. Times in epoch seconds."""

    session_id: Handle
    client_id: str
    device: str | None
    ip: str | None
    user_agent: str | None
    scope: str | None = Field(None, description="absent if empty", exclude_if=lambda scope: not scope)
    created_at: int
    last_seen: int = Field(
        description="rounded down to a minute, and not before `created_at`; of other sessions than this one, written "
        "at most once per twentieth of the idle time"
    )
    expires_at: int = Field(description="the latest end; an unused session ends earlier")
    current: bool

    @classmethod
    def of(cls, listed: SessionStatus, current: str | None = None, now: float = 0) -> "SessionView":
        """current: the session of this very request, at the time `now`."""
        session = listed.session
        # A thief would ask when the owner refreshes. So the own session tells of this request, and not of its record.
        seen = session.seen if listed.handle != current else int(now)
        return cls(
            session_id=listed.handle,
            client_id=session.client_id,
            device=session.device,
            ip=session.ip,
            user_agent=session.user_agent,
            scope=session.scope,
            created_at=session.created_ms // 1000,
            last_seen=max(seen - seen % 60, session.created_ms // 1000),
            expires_at=session.end,
            current=listed.handle == current,
        )


class MeView(Answer):
    sub: str
    username: str | None
    roles: list[str]
    claims: dict[str, Any]
    scope: str | None = Field(None, description="absent if empty", exclude_if=lambda scope: not scope)
    session: SessionView


class UserView(Answer):
    sub: str
    username: str | None
    status: Literal["active", "suspended"]
    roles: list[str]
    claims: dict[str, Any]
    version: int
    created_at: int

    @classmethod
    def of(cls, user: User) -> "UserView":
        return cls(
            sub=user.sub,
            username=user.username,
            status=user.status,
            roles=list(user.roles),
            claims=user.claims,
            version=user.version,
            created_at=user.created_at,
        )


class UserStateView(UserView):
    """A user as lists show it. Times in epoch seconds."""

    last_login_at: int | None = Field(
        description="when the newest session began; null: never, or more than 400 days ago"
    )
    locked_until: int | None = Field(
        description="until then, nobody can log in to this account from an unknown network, or with a second factor, "
        "because of wrong passwords or codes; null: it is not locked"
    )

    @classmethod
    def of_state(cls, state: UserState) -> Self:
        shown = UserView.of(state.user).model_dump()
        return cls(**shown, last_login_at=state.last_login_at, locked_until=state.locked_until)


class NewUserView(UserView):
    reset_code: str | None = Field(None, description="if no password was given: sets the first one, once", repr=False)
    expires_in: int | None = Field(None, description="seconds that the code is valid")


class ResetCodeView(Answer):
    reset_code: str = Field(repr=False)
    expires_in: int


class ClientView(Answer):
    client_id: str
    name: str
    public: bool
    permissions: list[Permission]
    audience: list[str]
    exchange_audience: list[str]
    scope: str | None
    issue_roles: list[str] | None
    access_ttl_s: int | None
    idle_ttl_s: int | None
    session_ttl_s: int | None
    refresh: bool
    acr: Literal["aal2"] | None
    created_at: int

    @classmethod
    def of(cls, client: Client) -> "ClientView":
        fields = {name: getattr(client, name) for name in cls.model_fields}
        return cls.model_validate(
            {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
        )


class NewClientView(ClientView):
    client_secret: str | None = Field(None, description="shown this once; absent for a public client", repr=False)


class AuditView(Answer):
    """An entry of the audit trail. A newer version of the service may have written events of its own.

    `user`, `client` and `actor_name` are the names of today. A member is absent where there is no name.
    """

    id: str
    at: float = Field(description="epoch seconds")
    event: str
    actor: str
    outcome: str = Field(description="success, failure, or unsure: a change was made and may not last")
    sub: str | None = None
    session_id: str | None = None
    client_id: str | None = None
    reason: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    comment: str | None = Field(None, description="why, in the words of the admin")
    details: dict[str, Any] | None = None
    user: str | None = Field(None, description="the name of `sub`")
    client: str | None = Field(None, description="the name of `client_id`")
    actor_name: str | None = Field(None, description="`actor` with the name in the place of the id")

    @classmethod
    def named(cls, stored: StoredEntry, names: Names) -> "AuditView":
        """The entry with the names of the users and clients in it."""
        entry, actor = stored.entry, names.actor(stored.entry.actor)
        return cls.of(stored).model_copy(
            update={
                "user": names.users.get(entry.sub or ""),
                "client": names.clients.get(entry.client_id or ""),
                "actor_name": None if actor == entry.actor else actor,
            }
        )

    @classmethod
    def of(cls, stored: StoredEntry) -> "AuditView":
        shown = asdict(stored.entry)
        known = {name: shown[name] for name in shown.keys() & cls.model_fields.keys()}
        return cls(id=stored.id, at=stored.at, **known)


class Sessions(Answer):
    items: list[SessionView]
    next: None = Field(None, description="a user's sessions are few, so there is one page")


class Users(Answer):
    items: list[UserStateView]
    next: str | None = Field(description="null at the end; with a filter, a page may be short before that")
    complete: bool = Field(
        True, description="false while the index of users is filled after an upgrade: users may be missing"
    )


class UserSessionView(SessionView):
    """A session in the list of all users' sessions."""

    sub: str
    user: str | None = Field(description="the user's name")
    client: str = Field(description="the client's name")

    @classmethod
    def of_live(cls, live: Live, client: Client) -> Self:
        shown = SessionView.of(SessionStatus(live.handle, live.session)).model_dump()
        return cls(**shown, sub=live.user.sub, user=live.user.username, client=client.name)


class SessionCount(Answer):
    sessions: int
    exact: bool = Field(
        description="false: there may be more, because lists have the newest 10,000 sessions, or are filled after an "
        "upgrade"
    )


class UserSessions(Answer):
    items: list[UserSessionView]
    next: str | None = Field(description="null at the end; a page may be short before that")
    count: SessionCount | None = Field(None, description="of the live sessions; on the first page only")


class Clients(Answer):
    items: list[ClientView]
    next: str | None


class AuditTrail(Answer):
    items: list[AuditView]
    next: str | None = Field(description="null at the end; with a filter, a page may be short before that")
    searched_to: float | None = Field(description="the time of the oldest event that was looked at, epoch seconds")


class Metadata(Answer):
    """RFC 8414 section 2."""

    issuer: str
    token_endpoint: str
    introspection_endpoint: str
    revocation_endpoint: str
    response_types_supported: list[str] = Field(description="none: there is no authorization endpoint")
    grant_types_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    introspection_endpoint_auth_methods_supported: list[str]
    revocation_endpoint_auth_methods_supported: list[str]
    login_methods_supported: list[str] = Field(
        description="no parameter of an RFC; what a login may ask for here: `password`, `passkey`, `totp`, `recovery`"
    )


class Health(Answer):
    status: Literal["ok", "ready"]
