"""The bodies, forms and queries of requests. No `repr` shows a secret: errors and debuggers print them."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from authsvc.api.schemas.fields import (
    LEFT_OUT,
    AccessTtl,
    Act,
    Address,
    Audience,
    AuthTime,
    Body,
    CallerAddress,
    Change,
    ClientScope,
    Comment,
    Digits,
    ExchangeAudience,
    Form,
    IdleTtl,
    IssueRoles,
    Label,
    Level,
    Methods,
    Permissions,
    Query,
    Refresh,
    RequiredAcr,
    ResetCodeTtl,
    SessionTtl,
    Subject,
    Text,
    Ttl,
    UserAddress,
    UserAgent,
    Words,
)
from authsvc.api.schemas.patterns import ROLE_PATTERN

_PASSWORD: dict[str, Any] = {"format": "password"}


class Login(Body):
    # Some people type their password here.
    username: Text = Field(examples=["ada"], repr=False)
    password: str = Field(examples=["a walk by the river"], json_schema_extra=_PASSWORD, repr=False)
    client_id: Text | None = Field(None, description="a public client; the built-in `app` if left out")
    scope: Text = ""
    device: Label | None = Field(None, description="shown in the user's list of sessions", examples=["Ada's phone"])
    cookie: bool = Field(False, description="set the session cookie and return no token")
    ip: UserAddress | None = None
    device_token: Text | None = Field(
        None, description="of a trusted device; in cookie mode the cookie has it", examples=["dev_…"], repr=False
    )


class Step(Body):
    """The next step of a login in progress. Everything else comes from its first step."""

    auth_session: Text = Field(examples=["aut_…"], repr=False)


class StepCode(Step):
    code: Text = Field(description="of the authenticator app, or a recovery code", examples=["287082"], repr=False)
    trust_device: bool = Field(False, description="ask for no second factor on this device for 30 days")


class StepPassword(Step):
    password: str = Field(examples=["a walk by the river"], json_schema_extra=_PASSWORD, repr=False)


class NewTotp(Body):
    name: Label | None = Field(None, description="by which the user recognises the app", examples=["Ada's phone"])
    auth_session: Text | None = Field(None, description="of a login that waits for a new factor", repr=False)


class FirstCode(Body):
    code: Text = Field(description="of the authenticator app", examples=["287082"], repr=False)
    auth_session: Text | None = Field(None, description="of a login that waits for a new factor", repr=False)


class PasswordChange(Body):
    current_password: str = Field(examples=["a walk by the river"], json_schema_extra=_PASSWORD, repr=False)
    new_password: str = Field(examples=["four herons at dawn"], json_schema_extra=_PASSWORD, repr=False)
    end_keys: bool = Field(False, description="end the user's keys too")


class PasswordReset(Body):
    reset_code: Text = Field(examples=["rst_…"], repr=False)
    new_password: str = Field(examples=["four herons at dawn"], json_schema_extra=_PASSWORD, repr=False)
    ip: UserAddress | None = None


class Issue(Body):
    sub: Subject = Field(examples=["google-oauth2|1234"])
    scope: Text = Field("", examples=["orders:read"])
    expires_in: Ttl | None = Field(None, description="seconds; by default the client's access lifetime")
    roles: list[str] | None = Field(
        None, description="replace the user's roles that the client may set, in every session", examples=[["editor"]]
    )
    device: Label | None = Field(None, description="shown in the user's list of sessions", examples=["nightly report"])
    amr: Methods | None = None
    acr: Level | None = None
    auth_time: AuthTime | None = None
    ip: Address | None = Field(
        None, description="the user's address, shown in the user's list of sessions", examples=["203.0.113.77"]
    )
    user_agent: UserAgent | None = Field(
        None, description="of the user's browser; the list of sessions shows a short form"
    )
    refresh: bool = Field(
        False, description="whether the session gets a refresh token and the lifetimes of a login through this client"
    )


class UserAct(Act):
    """The body of a change of a user that needs no more than a reason."""


class ResetCodeRequest(Act):
    expires_in: ResetCodeTtl | None = Field(None, examples=[3600])


class NewUser(Act):
    username: Text = Field(examples=["ada"])
    password: str | None = Field(
        None,
        description="left out: the answer has a reset code, which sets the first password",
        examples=["a walk by the river"],
        json_schema_extra=_PASSWORD,
        repr=False,
    )
    roles: list[str] = Field([], examples=[["editor"]])
    claims: dict[str, Any] = Field(
        {}, description="more about the user; introspection tells it", examples=[{"team": "orders"}]
    )
    expires_in: ResetCodeTtl | None = Field(None, description="only without a password")


class UserChange(Change):
    username: Text = LEFT_OUT
    status: Literal["active", "suspended"] = Field(
        LEFT_OUT, description="suspending ends every session", examples=["suspended"]
    )
    roles: list[str] = Field(LEFT_OUT, description="replaces all roles", examples=[["editor", "admin"]])
    claims: dict[str, Any] = Field(LEFT_OUT, description="replaces all claims")


class NewClient(Act):
    name: Label = Field(examples=["orders backend"])
    public: bool = Field(False, description="an app that can't keep a secret; it has no permissions")
    permissions: Permissions = Field([])
    audience: Audience = Field([])
    exchange_audience: ExchangeAudience = Field([])
    scope: ClientScope = None
    issue_roles: IssueRoles = None
    access_ttl_s: AccessTtl = None
    idle_ttl_s: IdleTtl = None
    session_ttl_s: SessionTtl = None
    refresh: Refresh = True
    acr: RequiredAcr = None


class ClientChange(Change):
    name: Label = LEFT_OUT
    permissions: Permissions = LEFT_OUT
    audience: Audience = LEFT_OUT
    exchange_audience: ExchangeAudience = LEFT_OUT
    scope: ClientScope = LEFT_OUT
    issue_roles: IssueRoles = LEFT_OUT
    access_ttl_s: AccessTtl = LEFT_OUT
    idle_ttl_s: IdleTtl = LEFT_OUT
    session_ttl_s: SessionTtl = LEFT_OUT
    refresh: Refresh = LEFT_OUT
    acr: RequiredAcr = LEFT_OUT


class SecretRotation(Act):
    overlap_s: int | None = Field(
        None, ge=0, le=30 * 86400, description="seconds that the last secret stays valid", examples=[3600]
    )


class ClientForm(Form):
    """The fields by which a client authenticates in a form (RFC 6749 section 2.3.1)."""

    client_id: Text | None = None
    client_secret: Text | None = Field(None, json_schema_extra=_PASSWORD, repr=False)


# RFC 8693 sections 2.1 and 3.
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name


class TokenForm(ClientForm):
    grant_type: str = Field(
        description=f"refresh_token, client_credentials or {TOKEN_EXCHANGE}", examples=["refresh_token"]
    )
    refresh_token: Text | None = Field(None, description="for refresh_token", examples=["ref_…"], repr=False)
    scope: Text | None = Field(
        None, description="narrows the new access token; for client_credentials the scope of the token, none by default"
    )
    subject_token: Text | None = Field(
        None, description="for a token exchange: the token that the client was sent", examples=["tok_…"], repr=False
    )
    subject_token_type: Text | None = Field(None, description=f"for a token exchange: {ACCESS_TOKEN}")
    audience: Text | None = Field(
        None,
        description="for a token exchange: one resource server, in the audience of the token or in the client's "
        "`exchange_audience`; left out, the audience of the token",
        examples=["billing"],
    )
    requested_token_type: Text | None = Field(None, description=f"for a token exchange: {ACCESS_TOKEN} or left out")
    actor_token: Text | None = Field(None, description="refused: the client is the actor", repr=False)
    actor_token_type: Text | None = Field(None, description="refused")
    resource: Text | None = Field(None, description="refused: use `audience`")


class IntrospectForm(ClientForm):
    token: str = Field(examples=["tok_…"], repr=False)
    token_type_hint: str | None = Field(None, description="not needed")
    scope: str = Field("", description="a token that lacks one of these scopes is inactive", examples=["orders:read"])
    ip: CallerAddress | None = None


class IntrospectBatch(Body):
    tokens: list[str] = Field(max_length=1000, examples=[["tok_…", "tok_…"]], repr=False)
    ip: CallerAddress | None = None


class RevokeForm(ClientForm):
    token: str | None = Field(None, description="its session ends", examples=["tok_…"], repr=False)
    token_type_hint: str | None = Field(None, description="not needed")
    session_id: str | None = Field(None, description="admins: this session")
    sub: Subject | None = Field(None, description="admins: every session of this user")
    all: Literal["true"] | None = Field(None, description="admins: every session there is")
    comment: Comment = None


class Which(Query):
    all: Literal["true", "false"] = Field("false", description="`true`: this session too")


class Deletion(Query):
    """The query of a DELETE by an admin, which has no body."""

    comment: Comment = None


class Page(Query):
    limit: Digits = Field(100, ge=1, le=1000)
    cursor: str | None = Field(None, max_length=400, description="`next` of the page before")


class UserPage(Page):
    username: Text | None = Field(None, description="only the user with this name, whatever its case")
    q: Text | None = Field(None, description="users whose name or sub begins with this, by name")
    status: Literal["active", "suspended"] | None = Field(None, description="only these, by name")
    role: Annotated[str, StringConstraints(pattern=ROLE_PATTERN)] | None = Field(
        None, description="only users with this role, by name"
    )
    locked: Literal["true"] | None = Field(
        None, description="only users who cannot log in for a while, because of wrong passwords or codes"
    )
    factor: Literal["none"] | None = Field(None, description="only users without a second factor, by name")


class SessionPage(Page):
    client_id: Text | None = Field(None, description="only sessions of this client")
    since: Digits | None = Field(
        None, ge=0, le=10**10, description="only sessions begun at or after this, epoch seconds"
    )


class AuditPage(Page):
    sub: Subject | None = Field(None, description="only events about this user")
    actor: Text | None = Field(
        None, description="only events caused by `user:<sub>`, `client:<client_id>`, `operator`, `service`, `anonymous`"
    )
    event: Text | None = Field(None, description="only this event, or all whose name begins with this word and a dot")
    client_id: Text | None = Field(None, description="only events about this client")
    since: Digits | None = Field(None, ge=0, le=10**10, description="not older than this, epoch seconds")
    until: Digits | None = Field(None, ge=0, le=10**10, description="older than this, epoch seconds")


class Requirements(Query):
    """The requirements of a gateway on a token."""

    scope: Words | None = Field(None, description="all of these scopes")
    role: Words | None = Field(None, description="all of these roles")
    audience: Words | None = Field(None, description="one of these audiences")
    acr: Words | None = Field(None, description="one of these levels, such as `aal2`")
    max_age: Digits | None = Field(None, ge=0, le=10**9, description="seconds since the user was authenticated")
    source: Literal["bearer", "cookie"] | None = Field(
        None, alias="from", description="read the token only there, and leave the other to the application"
    )
    roles_as: Literal["space", "comma"] = Field("space", description="what separates the roles in `X-Auth-Roles`")
