"""The bodies of requests and answers, as models: what is checked on the way in, and what openapi.yaml says."""

from typing import Annotated, Any, Literal

from msgspec.structs import asdict
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, StringConstraints
from pydantic_core import PydanticCustomError

from authsvc.core.client import Client, Permission
from authsvc.core.user import User
from authsvc.flows.grants import Grant
from authsvc.flows.sessions import SessionStatus
from authsvc.store.audit import StoredEntry


class Body(BaseModel):
    """JSON in: types are taken as they are written, unlisted fields are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


class Form(BaseModel):
    """A form or a query in: text."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class Answer(BaseModel):
    """JSON out."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


def _digits(text: object) -> object:
    if isinstance(text, str) and not (text.isascii() and text.isdigit()):
        raise PydanticCustomError("digits", "Input should be decimal digits")
    return text


# One line of visible text, for people to recognise something by.
Label = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$")]
Ttl = Annotated[int, Field(ge=1, le=10 * 365 * 86400)]
Handle = Annotated[str, Field(description="public id of a session", examples=["4fQ0kzPq1LxA"])]
Text = Annotated[str, StringConstraints(max_length=4096)]
Subject = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~:@|+=/-]{1,255}$")]
# Words as a scope has them, single spaces between (RFC 6749 section 3.3).
Words = Annotated[
    str,
    StringConstraints(max_length=1024, pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$"),
]
# Decimal digits: pydantic would also take " 5", "+5", "5.0" and "1_0".
Digits = Annotated[int, BeforeValidator(_digits)]


class Login(Body):
    username: Text = Field(examples=["ada"])
    password: str = Field(examples=["a walk by the river"], json_schema_extra={"format": "password"})
    client_id: Text | None = Field(None, description="a public client; the built-in `app` if left out")
    scope: Text = ""
    device: Label | None = Field(None, description="shown in the user's list of sessions", examples=["Ada's phone"])
    cookie: bool = Field(False, description="set the session cookie and return no token")


class PasswordChange(Body):
    current_password: str = Field(examples=["a walk by the river"], json_schema_extra={"format": "password"})
    new_password: str = Field(examples=["four herons at dawn"], json_schema_extra={"format": "password"})


class PasswordReset(Body):
    reset_code: Text = Field(examples=["rst_…"])
    new_password: str = Field(examples=["four herons at dawn"], json_schema_extra={"format": "password"})


class Issue(Body):
    sub: Subject = Field(examples=["google-oauth2|1234"])
    scope: Text = Field("", examples=["orders:read"])
    expires_in: Ttl | None = Field(None, description="seconds; by default the client's access lifetime")
    roles: list[str] | None = Field(
        None, description="become the user's roles, in every session", examples=[["editor"]]
    )


class NewUser(Body):
    username: Text = Field(examples=["ada"])
    password: str | None = Field(
        None,
        description="left out: the answer has a reset code, to set the first one with",
        examples=["a walk by the river"],
        json_schema_extra={"format": "password"},
    )
    roles: list[str] = Field([], examples=[["editor"]])
    claims: dict[str, Any] = Field({}, description="whatever introspection is to tell", examples=[{"team": "orders"}])


class UserChange(Body):
    username: Text = Field("", description="left out: unchanged")
    status: Literal["active", "suspended"] = Field(
        "active", description="left out: unchanged; suspending ends every session", examples=["suspended"]
    )
    roles: list[str] = Field([], description="left out: unchanged", examples=[["editor", "admin"]])
    claims: dict[str, Any] = Field({}, description="left out: unchanged")


class ClientFields(Body):
    permissions: list[Permission] = Field([], examples=[["introspect"]])
    audience: list[str] = Field(
        [], description="resource servers that its tokens are for, or that it is", max_length=64
    )
    scope: Text | None = Field(None, description="what may be asked for through it; null: anything")
    access_ttl_s: Ttl | None = Field(
        None, description="life of an access token; null: 900, or the session's without refresh"
    )
    idle_ttl_s: Ttl | None = Field(
        None, description="a session ends this long after its last use; null: 14 days, 30 min without refresh"
    )
    session_ttl_s: Ttl | None = Field(
        None, description="a session ends this long after the login; null: 30 days, 12 h without refresh"
    )
    refresh: bool = Field(True, description="whether logins get a refresh token")


class NewClient(ClientFields):
    name: Label = Field(examples=["orders backend"])
    public: bool = Field(False, description="an app that can't keep a secret; it has no permissions")


class ClientChange(ClientFields):
    name: Label = Field("unchanged", description="left out: unchanged, like every field here")


class SecretRotation(Body):
    overlap_s: int | None = Field(
        None, ge=0, le=30 * 86400, description="seconds that the last secret stays valid", examples=[3600]
    )


class ClientForm(Form):
    """The fields by which a client authenticates in a form (RFC 6749 section 2.3.1)."""

    client_id: Text | None = None
    client_secret: Text | None = Field(None, json_schema_extra={"format": "password"})


class TokenForm(ClientForm):
    grant_type: str = Field(description="refresh_token", examples=["refresh_token"])
    refresh_token: Text | None = Field(None, examples=["ref_…"])
    scope: Text | None = Field(None, description="to narrow the new access token")


class IntrospectForm(ClientForm):
    token: str = Field(examples=["tok_…"])
    token_type_hint: str | None = Field(None, description="not needed")


class IntrospectBatch(Body):
    tokens: list[str] = Field(max_length=1000, examples=[["tok_…", "tok_…"]])


class RevokeForm(ClientForm):
    token: str | None = Field(None, description="whose session is to end", examples=["tok_…"])
    token_type_hint: str | None = Field(None, description="not needed")
    session_id: str | None = Field(None, description="admins: this session")
    sub: Subject | None = Field(None, description="admins: every session of this user")
    all: Literal["true"] | None = Field(None, description="admins: every session there is")


class Which(Form):
    model_config = ConfigDict(extra="forbid")
    all: Literal["true", "false"] = Field("false", description="`true`: this session too")


class Page(Form):
    model_config = ConfigDict(extra="forbid")
    limit: Digits = Field(100, ge=1, le=1000)
    cursor: str | None = Field(None, max_length=400, description="`next` of the page before")


class Requirements(Form):
    """What a gateway requires of a token."""

    model_config = ConfigDict(extra="forbid")
    scope: Words | None = Field(None, description="all of these scopes")
    role: Words | None = Field(None, description="all of these roles")
    audience: Words | None = Field(None, description="one of these audiences")


class Problem(Answer):
    """Every error there is (RFC 6749 section 5.2)."""

    error: str = Field(examples=["invalid_request"])
    error_description: str = Field(
        description="for developers; never repeats what was sent",
        json_schema_extra={"pattern": r"^[\x20-\x21\x23-\x5b\x5d-\x7e]*$"},
        examples=["username: Field required"],
    )


class Tokens(Answer):
    """RFC 6749 section 5.1."""

    access_token: str | None = Field(None, description="absent in cookie mode")
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a name
    expires_in: int = Field(description="seconds")
    refresh_token: str | None = Field(None, description="absent in cookie mode, and for clients without refresh")
    scope: str
    session_id: Handle

    @classmethod
    def of(cls, grant: Grant, *, hidden: bool = False) -> "Tokens":
        return cls(
            access_token=None if hidden else grant.access_token,
            expires_in=grant.expires_in,
            refresh_token=None if hidden else grant.refresh_token,
            scope=grant.scope,
            session_id=grant.session_id,
        )


class Introspection(Answer):
    """RFC 7662 section 2.2; an inactive token has `active` only."""

    active: bool
    sub: str | None = None
    username: str | None = None
    client_id: str | None = None
    scope: str | None = None
    token_type: Literal["Bearer", "refresh_token"] | None = None
    exp: int | None = None
    iat: int | None = None
    iss: str | None = None
    aud: list[str] | None = None
    roles: list[str] | None = None
    claims: dict[str, Any] | None = None
    session_id: str | None = None
    auth_time: int | None = None
    amr: list[str] | None = None
    version: int | None = Field(
        None, description="of the user; raised by every change to roles, claims, name or status"
    )
    recheck_at: int | None = Field(
        None, description="epoch seconds; who caches this answer asks again by then, so that its use is noted"
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
    scope: str
    created_at: int
    last_seen: int = Field(description="noted at most once per twentieth of the idle time")
    expires_at: int = Field(description="the absolute end; it may end earlier for not being used")
    current: bool

    @classmethod
    def of(cls, listed: SessionStatus, current: str | None = None) -> "SessionView":
        session = listed.session
        return cls(
            session_id=listed.handle,
            client_id=session.client_id,
            device=session.device,
            ip=session.ip,
            user_agent=session.user_agent,
            scope=session.scope,
            created_at=session.created_ms // 1000,
            last_seen=session.seen,
            expires_at=session.end,
            current=listed.handle == current,
        )


class MeView(Answer):
    sub: str
    username: str | None
    roles: list[str]
    claims: dict[str, Any]
    scope: str
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


class NewUserView(UserView):
    reset_code: str | None = Field(None, description="where no password was given: sets the first one, once")


class ResetCodeView(Answer):
    reset_code: str
    expires_in: int


class ClientView(Answer):
    client_id: str
    name: str
    public: bool
    permissions: list[Permission]
    audience: list[str]
    scope: str | None
    access_ttl_s: int | None
    idle_ttl_s: int | None
    session_ttl_s: int | None
    refresh: bool
    created_at: int

    @classmethod
    def fields_of(cls, client: Client) -> dict[str, Any]:
        fields = {name: getattr(client, name) for name in ClientView.model_fields}
        return fields | {"permissions": list(client.permissions), "audience": list(client.audience)}

    @classmethod
    def of(cls, client: Client) -> "ClientView":
        return cls(**cls.fields_of(client))


class NewClientView(ClientView):
    client_secret: str | None = Field(None, description="shown this once; absent for a public client")


class AuditView(Answer):
    id: str
    at: float = Field(description="epoch seconds")
    event: str
    actor: str
    outcome: str = Field(description="success, failure, or unsure: the change was made and may not last")
    sub: str | None = None
    session_id: str | None = None
    client_id: str | None = None
    reason: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    details: dict[str, Any] | None = None

    @classmethod
    def of(cls, stored: StoredEntry) -> "AuditView":
        shown = asdict(stored.entry)
        known = {name: shown[name] for name in shown.keys() & cls.model_fields.keys()}
        return cls(id=stored.id, at=stored.at, **known)


class Sessions(Answer):
    items: list[SessionView]
    next: None = Field(None, description="the number of sessions is capped, so there is one page")


class Users(Answer):
    items: list[UserView]
    next: str | None


class Clients(Answer):
    items: list[ClientView]
    next: str | None


class AuditTrail(Answer):
    items: list[AuditView]
    next: str | None


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


class Health(Answer):
    status: Literal["ok", "ready"]
