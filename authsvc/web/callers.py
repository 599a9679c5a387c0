"""Authenticate the caller: a client by its secret, a user by a token or the cookie, an admin by either."""

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol
from urllib.parse import unquote_plus

from starlette.requests import Request

from authsvc.api.route import Route
from authsvc.api.schemas.requests import ClientForm
from authsvc.core.address import OWS
from authsvc.core.client import Client, Permission
from authsvc.core.powers import Level, reaches
from authsvc.core.session import Active, Inactive
from authsvc.errors import (
    AccessDenied,
    InsufficientRole,
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    MissingToken,
    UnauthorizedClient,
    WrongAudience,
)
from authsvc.flows import clients
from authsvc.flows.deps import Caller
from authsvc.flows.introspect import look_up, note_use
from authsvc.flows.step_up import require_recent, require_strong
from authsvc.web import cookies
from authsvc.web.context import RequestContext
from authsvc.web.scope import ROUTE

NOT_ACTIVE = "the access token is not active"
FOR_OTHERS = "the audience of this token lacks the URL of this service"

_NO_CREDENTIALS = "no client credentials were sent: send client_id and client_secret by HTTP Basic (curl -u)"
_OR_FORM = "or as fields of the form; a public client sends client_id only"
_NO_TOKEN = "no access token was sent: log in, and send the token as Authorization: Bearer, or the cookie"  # noqa: S105
_NOT_BEARER = "Authorization: not a bearer token: write Bearer and a space before the token, and nothing after it"
_NO_ADMIN = "no credentials were sent: a client sends its id and secret by HTTP Basic (curl -u), an admin a token"

# Where a token is read. None: in either of the two, and both are one too many.
Source = Literal["bearer", "cookie"] | None

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
_BASIC = re.compile(r"basic +([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UserPrincipal:
    """The user who is calling. `by_cookie`: the token came in the session cookie."""

    active: Active
    caller: Caller
    by_cookie: bool


class Commented(Protocol):
    """The body or the query of a call that may say why it is made."""

    comment: str | None


@dataclass(frozen=True, slots=True)
class AdminPrincipal:
    """A caller who may have power over others: a user with such a role (client is None), or a client."""

    caller: Caller
    client: Client | None

    def because(self, body: Commented | None) -> Caller:
        """The caller with the comment that came with the call, which goes into the audit trail."""
        return self.caller if body is None else replace(self.caller, comment=body.comment)


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The id and the secret of a calling client. `secret`: None for a public client."""

    client_id: str
    secret: str | None = field(repr=False)


def client_credentials(request: Request, form: ClientForm | None = None) -> ClientCredentials:
    """Read a client's credentials (RFC 6749 section 2.3): HTTP Basic, or the form's fields.

    Some clients send the same credentials in both. Raises InvalidClient if there are none, and InvalidRequest if they
    differ.
    """
    basic = _basic(request)
    if basic is not None:
        if form and not (form.client_id in (None, basic.client_id) and form.client_secret in (None, basic.secret)):
            raise InvalidRequest("HTTP Basic and the form have different client credentials")
        return basic
    if form is None or form.client_id is None:
        raise InvalidClient(_NO_CREDENTIALS if form is None else f"{_NO_CREDENTIALS}, {_OR_FORM}")
    return ClientCredentials(form.client_id, form.client_secret)


async def authenticate(ctx: RequestContext, credentials: ClientCredentials) -> Client:
    """Find the client with these credentials. Raises InvalidClient, TooManyAttempts."""
    return await clients.authenticate(ctx.deps, ctx.caller, credentials.client_id, credentials.secret)


async def client_of(ctx: RequestContext, form: ClientForm | None = None) -> Client:
    """Authenticate the calling client. Raises InvalidClient, InvalidRequest, TooManyAttempts."""
    return (await parties_of(ctx, form)).client


async def parties_of(ctx: RequestContext, form: ClientForm | None = None) -> clients.Parties:
    """Authenticate the calling client, as `client_of` does."""
    credentials = client_credentials(ctx.request, form)
    return await clients.authenticated(ctx.deps, ctx.caller, credentials.client_id, credentials.secret)


async def login_client(ctx: RequestContext, client_id: str | None, default: str) -> clients.Parties:
    """Find the client of a login: a public client names itself, a confidential one authenticates by HTTP Basic."""
    basic = _basic(ctx.request)
    if basic is not None and client_id not in (None, basic.client_id):
        raise InvalidRequest("client_id: not the client that is calling")
    named, secret = (client_id or default, None) if basic is None else (basic.client_id, basic.secret)
    return await clients.authenticated(ctx.deps, ctx.caller, named, secret)


def origin_of_user(ctx: RequestContext, client: Client, ip: str | None) -> Caller:
    """The origin of a call of this client. A web server calls for its user, and names the user's address.

    ip: as the client named it; None: the call comes from the user. Raises UnauthorizedClient.
    """
    if ip is None:
        return ctx.caller
    if not client.may("client_ip"):
        raise UnauthorizedClient("ip: only for a confidential client with the permission client_ip")
    return replace(ctx.caller, ip=ip, named_by=client.client_id)


async def session_of(ctx: RequestContext) -> UserPrincipal:
    """Authenticate the user of a session, whatever its audience. Raises AccessDenied and the errors of `identify`."""
    user = await identify(ctx)
    if user.active.token_use is not None:
        raise AccessDenied("a token of a program opens no account: this takes the token of a user's session")
    return user


def refuse_cookie_from_elsewhere(ctx: RequestContext) -> None:
    """Raise CrossSite for a call with the session cookie from another site.

    For calls whose body says whether they are made by cookie: the body is not read then.
    """
    if cookies.session_tokens(ctx.request):
        cookies.refuse_cross_site(ctx.request, ctx.deps)


async def user_of(ctx: RequestContext) -> UserPrincipal:
    """Authenticate the user for a call of the account, and count the session as used.

    The token must be for this service: every resource server of its audience is sent it, and could use it here. The
    token of a login by cookie reaches no resource server. Raises WrongAudience and the errors of `session_of`.
    """
    user = await session_of(ctx)
    session = user.active.session
    if not session.is_for(ctx.deps.settings.base_url) and not (user.by_cookie and session.in_cookie):
        raise WrongAudience(FOR_OTHERS)
    note_use(ctx.deps, user.active, ctx.deps.clock())
    return user


async def identify(ctx: RequestContext, method: str | None = None, source: Source = None) -> UserPrincipal:
    """Authenticate the user by access token or cookie. Raises MissingToken, InvalidToken, InvalidRequest, CrossSite.

    The session does not count as used yet. method: of the request for which the browser sent the cookie, if that is
    another request than this one.
    """
    presented, by_cookie = _user_token(ctx, method, source)
    if by_cookie:
        cookies.note_read(ctx.request)
    verdict = await look_up(ctx.deps, presented)
    if isinstance(verdict, Inactive):
        raise InvalidToken(NOT_ACTIVE)
    return UserPrincipal(verdict, ctx.caller_as(f"user:{verdict.user.sub}"), by_cookie)


def _user_token(ctx: RequestContext, method: str | None, source: Source) -> tuple[str, bool]:
    """The one token that the request brings, and whether it is in the cookie."""
    request = ctx.request
    header = None if source == "cookie" else _authorization(request)
    cookie = None if source == "bearer" else cookies.session_token(request)
    if "access_token" in request.query_params:
        raise InvalidRequest("a token does not belong into a URL")
    if header is not None and cookie is not None:
        raise InvalidRequest("both a bearer token and a session cookie")
    if header is not None:
        match = _BEARER.fullmatch(header)
        if match is None:
            raise InvalidRequest(_NOT_BEARER)
        return match[1], False
    if cookie is None:
        raise MissingToken(_NO_TOKEN)
    if (request.method if method is None else method) not in ("GET", "HEAD"):
        cookies.refuse_cross_site(request, ctx.deps, forwarded=method is not None)
    return cookie, True


async def admin_of(ctx: RequestContext, permission: Permission = "admin") -> AdminPrincipal:
    """Authenticate an admin, or a client with the permission.

    Raises the errors of user_of and client_of; without the power InsufficientRole or UnauthorizedClient.
    """
    principal = await client_or_admin_of(ctx)
    client = principal.client
    if client is not None and not (client.may("admin") or client.may(permission)):
        needed = "admin" if permission == "admin" else f"{permission} or admin"
        raise UnauthorizedClient(f"this client may not do that: it takes the permission {needed}")
    return principal


async def client_or_admin_of(ctx: RequestContext, form: ClientForm | None = None) -> AdminPrincipal:
    """Authenticate any client, or a user with the power that the route needs.

    To change something, the user's login has to be recent.
    """
    header = _authorization(ctx.request)
    by_basic = header is not None and header[:6].lower() == "basic "
    by_form = form is not None and names_caller(ctx.request, form)
    if by_basic or by_form:
        client = await client_of(ctx, form if by_form else None)
        return AdminPrincipal(_with_level(ctx.caller_as(f"client:{client.client_id}"), client), client)
    try:
        user = await user_of(ctx)
    except MissingToken:
        raise MissingToken(_NO_ADMIN) from None
    level = _level_of(ctx, user.active)
    if ctx.request.method not in ("GET", "HEAD"):
        await require_recent(ctx.deps, user.active)
    return AdminPrincipal(replace(user.caller, level=level), None)


def _with_level(caller: Caller, client: Client) -> Caller:
    return replace(caller, level="admin") if client.may("admin") else caller


def names_caller(request: Request, form: ClientForm) -> bool:
    """Whether the form's client_id names the client that is calling.

    Beside HTTP Basic, a bearer token or a cookie, client_id alone names the client whose sessions are to end.
    """
    if form.client_secret is not None:
        return True
    return form.client_id is not None and _authorization(request) is None and cookies.session_token(request) is None


def _level_of(ctx: RequestContext, active: Active) -> Level:
    """The power of the user. Raises InsufficientRole unless it is enough, and the token may be used to administer."""
    route: Route = ctx.request.scope[ROUTE]
    powers, needed = ctx.deps.settings.powers, route.access.level
    level = powers.level_of(active.user.roles)
    if level is None or not reaches(level, needed):
        raise InsufficientRole(f"this takes the role {' or '.join(powers.roles_for(needed))}")
    if not active.session.is_for(ctx.deps.settings.base_url):
        # By cookie too: a gateway that does not remove the cookie sends it to its applications.
        raise WrongAudience(FOR_OTHERS)
    if not active.session.logged_in and not active.client.speaks_for_admins:
        # The token was issued without a login, perhaps before the user became an admin.
        raise InsufficientRole("this token was issued by a client that may not speak for admins")
    require_strong(ctx.deps, active)
    return level


def _authorization(request: Request) -> str | None:
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        raise InvalidRequest("more than one Authorization header")
    # The parser leaves spaces at the end, which are no part of the value (RFC 9110 section 5.5).
    return headers[0].strip(OWS) if headers else None


def _basic(request: Request) -> ClientCredentials | None:
    header = _authorization(request)
    if header is None:
        return None
    match = _BASIC.fullmatch(header)
    if match is None:
        raise InvalidClient("Authorization: not HTTP Basic")
    try:
        client_id, colon, secret = b64decode(match[1], validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidClient("Authorization: not HTTP Basic") from None
    if not colon:
        raise InvalidClient("Authorization: not HTTP Basic")
    # RFC 6749 section 2.3.1: both are form-urlencoded before they are joined.
    # Section 2.3.1, client_secret: an empty secret is the same as none, so it is no guess.
    return ClientCredentials(unquote_plus(client_id), unquote_plus(secret) or None)
