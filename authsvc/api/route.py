"""The form of a row in the table of routes: all that the web application and the contract know of one call."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel

from authsvc import errors as e
from authsvc.api.parsing import MAX_BODY
from authsvc.core.capability import Capability
from authsvc.core.powers import Level

Tag = Literal["tokens", "account", "users", "clients", "audit", "service"]
Who = Literal["anyone", "client", "user", "gateway", "admin"]
# `none`: without a scheme of OpenAPI. The client authenticates by fields of the form, or nobody has to authenticate.
Scheme = Literal["basic", "bearer", "cookie", "none"]
Errors = tuple[type[e.AuthError], ...]


@dataclass(frozen=True, slots=True)
class Access:
    """The callers of a call, the schemes by which they authenticate, and the errors that authenticating can raise.

    schemes: alternatives; empty where no authentication is read.
    level: the power that a user needs here. A client needs the permission `admin`, unless the route says otherwise.
    """

    who: tuple[Who, ...]
    schemes: tuple[Scheme, ...] = ()
    errors: Errors = ()
    level: Level = "admin"


_OF_A_CLIENT = (e.InvalidRequest, e.InvalidClient, e.TooManyAttempts)
_OF_A_SESSION = (e.InvalidRequest, e.MissingToken, e.InvalidToken, e.AccessDenied, e.CrossSite)
_OF_A_USER = (*_OF_A_SESSION, e.WrongAudience)
_OF_AN_ADMIN = (
    *(*_OF_A_CLIENT, *_OF_A_USER, e.InsufficientRole, e.UnauthorizedClient),
    e.InsufficientUserAuthentication,
)
# A gateway has to understand each answer, so that an unreadable request is AccessDenied or InvalidToken.
_OF_A_GATEWAY = (
    *(e.MissingToken, e.InvalidToken, e.WrongAudience, e.InsufficientScope, e.InsufficientRole),
    *(e.AccessDenied, e.CrossSite, e.InsufficientUserAuthentication),
)

ANYONE = Access(("anyone",))
ANYONE_OR_CLIENT = Access(("anyone",), ("none", "basic"))
CLIENT = Access(("client",), ("basic",), _OF_A_CLIENT)
# RFC 6749 section 2.3.1: by HTTP Basic or by fields of the form.
CLIENT_BY_FORM = Access(("client",), ("basic", "none"), _OF_A_CLIENT)
CLIENT_OR_ADMIN = Access(("client", "admin"), ("basic", "bearer", "cookie", "none"), _OF_AN_ADMIN)
# The user of any session, also of one whose tokens are for other resource servers.
OWN_SESSION = Access(("user",), ("bearer", "cookie"), _OF_A_SESSION)
USER = Access(("user",), ("bearer", "cookie"), _OF_A_USER)
# A user whose login was recent.
USER_RECENTLY = Access(("user",), ("bearer", "cookie"), (*_OF_A_USER, e.InsufficientUserAuthentication))
# A user whose login was recent, or somebody with a login in progress.
USER_OR_LOGIN = Access(
    ("anyone", "user"),
    ("bearer", "cookie", "none", "basic"),
    (*_OF_A_USER, e.InsufficientUserAuthentication, e.InvalidSession, e.InvalidClient, e.TooManyAttempts),
)
GATEWAY = Access(("gateway",), ("bearer", "cookie"), _OF_A_GATEWAY)
ADMIN = Access(("admin",), ("basic", "bearer", "cookie"), _OF_AN_ADMIN)
SUPPORT = replace(ADMIN, level="support")
AUDITOR = replace(ADMIN, level="auditor")

# Header fields of an answer that nobody may store, embed or read as another type of content.
PRIVATE: Mapping[str, str] = {
    "Cache-Control": "no-store",  # RFC 6749 section 5.1; with Pragma for HTTP/1.0 caches
    "Pragma": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True, slots=True)
class Media:
    """The body of an answer that is no JSON model. `schema`: what OpenAPI says about it."""

    type: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SetsCookie:
    """An answer with a session cookie. `status`: of that answer; `about`: the value and when it is set."""

    status: int
    about: str


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One call of the HTTP API."""

    method: str
    path: str
    # `module.function` of authsvc/web. The contract uses the function's name as the id of the operation.
    endpoint: str
    summary: str
    tag: Tag
    access: Access = ANYONE
    # A longer description than the summary, for the contract.
    about: str | None = None
    # The model of the body.
    takes: type[BaseModel] | None = None
    optional_body: bool = False
    # The most bytes of the body.
    max_body: int = MAX_BODY
    # The model of the query string.
    query: type[BaseModel] | None = None
    # The body of the answer with `status`.
    gives: type[BaseModel] | Media | None = None
    status: int = 200
    sets_cookie: SetsCookie | None = None
    # Header fields of the answer with `status`, and their meanings.
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    # The errors of this call alone; `access` has those of authentication.
    errors: Errors = ()
    # Header fields of every answer to this call.
    headers: Mapping[str, str] = field(default_factory=lambda: PRIVATE)
    # Other methods that make the same call.
    also: tuple[str, ...] = ()
    # Whether the path of the issuer, if it has one, may follow the path (RFC 8414 section 3.1).
    well_known: bool = False
    # Served only where the service has this capability.
    capability: Capability | None = None
    # Whether the contract has this call.
    documented: bool = True

    @property
    def who(self) -> tuple[Who, ...]:
        return self.access.who

    @property
    def name(self) -> str:
        """The name of the endpoint's function."""
        return self.endpoint.partition(".")[2]
