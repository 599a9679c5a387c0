"""The bases of all models, and the types that several fields share."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from authsvc.api.schemas.patterns import (
    LEVEL_PATTERN,
    LINE_PATTERN,
    METHOD_PATTERN,
    ROLE_PATTERN,
    SCOPE_PATTERN,
    SUB_PATTERN,
)
from authsvc.core.address import canonical, network_of
from authsvc.core.api_key import MAX_NETWORKS
from authsvc.core.authentication import MAX_METHODS
from authsvc.core.client import Permission
from authsvc.core.event import COMMENT, check_comment
from authsvc.core.scope import MAX_LENGTH
from authsvc.core.user import MAX_ROLES
from authsvc.errors import InvalidRequest

# The value of a field that a change leaves out. `Change.given` does not list it, so nobody reads it.
LEFT_OUT: Any = None


class Body(BaseModel):
    """JSON in: types are taken as they are written, unlisted fields are refused."""

    model_config = ConfigDict(defer_build=True, strict=True, extra="forbid", hide_input_in_errors=True)

    def fields(self) -> dict[str, Any]:
        """Every field with its value or its default, lists as tuples."""
        return self._values(type(self).model_fields)

    def _values(self, names: "dict[str, Any] | set[str]") -> dict[str, Any]:
        values = {name: getattr(self, name) for name in names}
        return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _without_defaults(schema: dict[str, Any]) -> None:
    # OpenAPI reads `default` as the value that the service assumes for a field which is left out. Generated clients
    # send such a default, and would reinstate a suspended user whom they only rename.
    for field in schema["properties"].values():
        field.pop("default", None)


def _comment(text: str) -> str:
    try:
        return check_comment(text)
    except InvalidRequest as error:
        raise PydanticCustomError("comment", "{why}", {"why": str(error).partition(": ")[2]}) from None


_Line = Annotated[str, AfterValidator(_comment), WithJsonSchema({"type": "string", "pattern": f"^{COMMENT.pattern}$"})]
Comment = Annotated[
    _Line | None,
    Field(description="why, for the audit trail; one line without tokens", examples=["lost phone, ticket 4711"]),
]


class Act(Body):
    """The body of a change that an admin makes to others."""

    comment: Comment = None

    def _values(self, names: "dict[str, Any] | set[str]") -> dict[str, Any]:
        # The comment is about the change, and not part of what is changed.
        return {name: value for name, value in super()._values(names).items() if name != "comment"}


class Change(Act):
    """The body of a PATCH. Fields that are left out are unchanged, so the contract has no defaults for them."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    def given(self) -> dict[str, Any]:
        """The fields that the body has, lists as tuples."""
        return self._values(self.model_fields_set)


class Form(BaseModel):
    """A form or a query in: text."""

    model_config = ConfigDict(defer_build=True, extra="ignore", hide_input_in_errors=True)


class Query(Form):
    """A query in. A mistyped filter must not count as no filter, so unlisted parameters are refused."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """JSON out."""

    model_config = ConfigDict(defer_build=True, extra="forbid", hide_input_in_errors=True)


def _digits(text: object) -> object:
    if isinstance(text, str) and not (text.isascii() and text.isdigit()):
        raise PydanticCustomError("digits", "must be decimal digits")
    return text


def _address(text: str) -> str:
    address = canonical(text)
    if address is None:
        raise PydanticCustomError("address", "must be an IPv4 or IPv6 address, without brackets, port or zone")
    return address


# One line of visible text, by which people recognise something.
Label = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=LINE_PATTERN)]
Ttl = Annotated[int, Field(ge=1, le=10 * 365 * 86400)]
# An invitation may wait for a week, and no code is good for longer.
ResetCodeTtl = Annotated[
    int, Field(ge=60, le=7 * 86400, description="seconds that the code is valid; null: AUTHSVC_RESET_CODE_TTL_S (600)")
]
Handle = Annotated[str, Field(description="public id of a session", examples=["4fQ0kzPq1LxA"])]
Text = Annotated[str, StringConstraints(max_length=4096)]
Subject = Annotated[str, StringConstraints(pattern=SUB_PATTERN)]
# Words as a scope has them, with single spaces between (RFC 6749 section 3.3).
Words = Annotated[str, StringConstraints(max_length=MAX_LENGTH, pattern=SCOPE_PATTERN)]
Address = Annotated[str, AfterValidator(_address)]
UserAddress = Annotated[
    Address,
    Field(
        description="the user's address, if a web server calls for its user: guesses count against this address. For a "
        "confidential client with the permission `client_ip`",
        examples=["203.0.113.77"],
    ),
]
CallerAddress = Annotated[
    Address,
    Field(
        description="from where the tokens are used, as the resource server sees it. A key that is bound to networks "
        "is inactive without it",
        examples=["203.0.113.77"],
    ),
]
UserAgent = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=LINE_PATTERN)]
# How and when a user was authenticated elsewhere.
Methods = Annotated[
    list[Annotated[str, StringConstraints(pattern=METHOD_PATTERN)]],
    Field(
        min_length=1,
        max_length=MAX_METHODS,
        description="how the user was authenticated (RFC 8176); takes the permission `vouch`",
        examples=[["pwd", "otp", "mfa"]],
    ),
]
Level = Annotated[
    str,
    StringConstraints(pattern=LEVEL_PATTERN),
    Field(
        description="the level of assurance; takes the permission `vouch`. Left out, it follows from `amr`: `aal2` "
        "with `mfa`, else `aal1`",
        examples=["aal2"],
    ),
]
AuthTime = Annotated[
    int,
    Field(
        ge=1,
        description="when the user was authenticated, in epoch seconds; left out, introspection tells none; takes the "
        "permission `vouch`",
        examples=[1767225600],
    ),
]


def _network(text: str) -> str:
    try:
        if "%" in text:
            raise ValueError("a zone means something on one machine only")
        return str(network_of(text))
    except ValueError:
        message = "must be an address, or a network such as 203.0.113.0/24, without bits behind its prefix"
        raise PydanticCustomError("network", message) from None


Networks = Annotated[
    list[Annotated[str, AfterValidator(_network)]],
    Field(
        max_length=MAX_NETWORKS,
        description="the only networks where the key may be used; empty: all",
        examples=[["203.0.113.0/24"]],
    ),
]
# Decimal digits: pydantic would also take " 5", "+5", "5.0" and "1_0".
Digits = Annotated[int, BeforeValidator(_digits)]

# Fields of a client, which is registered with defaults and changed without.
Permissions = Annotated[list[Permission], Field(examples=[["introspect"]])]
Audience = Annotated[
    list[str],
    Field(max_length=64, description="the resource servers that the client's tokens are for, or that the client is"),
]
ExchangeAudience = Annotated[
    list[str],
    Field(
        max_length=64,
        description="further resource servers for which the client may exchange tokens; takes the permission "
        "`exchange`",
        examples=[["billing"]],
    ),
]
ClientScope = Annotated[
    Text | None,
    Field(description="the scope that logins may ask for; null: any, for the built-in `app` AUTHSVC_APP_SCOPE"),
]
IssueRoles = Annotated[
    list[Annotated[str, StringConstraints(pattern=ROLE_PATTERN)]] | None,
    Field(
        max_length=MAX_ROLES,
        description="the roles that the client may set at `POST /tokens`; null: all but `admin`, and only for users "
        "that it registered",
        examples=[["editor"]],
    ),
]
AccessTtl = Annotated[
    Ttl | None, Field(description="life of an access token; null: 900, or the session's life without refresh")
]
IdleTtl = Annotated[
    Ttl | None,
    Field(description="a session ends this long after its last use; null: 14 days, or 30 min without refresh"),
]
SessionTtl = Annotated[
    Ttl | None, Field(description="a session ends this long after the login; null: 30 days, or 12 h without refresh")
]
RequiredAcr = Annotated[
    Literal["aal2"] | None, Field(description="`aal2`: every user of the client needs a second factor; null: no rule")
]
Refresh = Annotated[bool, Field(description="whether logins get a refresh token")]
