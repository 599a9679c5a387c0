"""Who is calling: a client by its secret, a user by a token or the cookie, an admin by either."""

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote_plus

from starlette.requests import Request

from authsvc.api.schemas import ClientForm
from authsvc.core.address import behind
from authsvc.core.client import Client, Permission
from authsvc.core.session import Active, Inactive
from authsvc.core.token import Kind
from authsvc.core.user import ADMIN_ROLE
from authsvc.errors import (
    InsufficientRole,
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    MissingToken,
    UnauthorizedClient,
)
from authsvc.flows import clients
from authsvc.flows.deps import Caller, Deps
from authsvc.flows.introspect import look_up, note_use
from authsvc.web import cookies

NOT_ACTIVE = "the access token is not active"

_BEARER = re.compile(r"bearer ([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
_BASIC = re.compile(r"basic ([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Me:
    """The user who is calling, and whether by cookie."""

    active: Active
    caller: Caller
    by_cookie: bool


@dataclass(frozen=True, slots=True)
class Authority:
    """Who is calling with power over others: a user with the role `admin` (client is None), or a client."""

    caller: Caller
    client: Client | None

    def may(self, permission: Permission) -> bool:
        return self.client is None or self.client.may("admin") or self.client.may(permission)


def source(request: Request, actor: str = "anonymous") -> Caller:
    """Where the request comes from, for the audit trail."""
    return Caller(
        actor=actor,
        ip=behind(
            request.client.host if request.client else None,
            request.headers.getlist("x-forwarded-for"),
            request.app.state.trusted_proxies,
        ),
        user_agent=request.headers.get("user-agent"),
        request_id=request.scope["request_id"],
    )


class Presented(NamedTuple):
    """What a calling client authenticates with."""

    client_id: str
    secret: str | None


def presented(request: Request, form: ClientForm | None = None) -> Presented:
    """A client's credentials (RFC 6749 section 2.3): HTTP Basic, or the form's fields; never both.

    Raises InvalidClient where there are none, InvalidRequest.
    """
    basic = _basic(request)
    if basic is not None:
        if form and (form.client_secret is not None or form.client_id not in (None, basic.client_id)):
            raise InvalidRequest("more than one way of client authentication")
        return basic
    if form is None or form.client_id is None:
        raise InvalidClient()
    return Presented(form.client_id, form.client_secret)


async def client_of(deps: Deps, request: Request, form: ClientForm | None = None) -> Client:
    """Authenticate the calling client. Raises InvalidClient, InvalidRequest, TooManyAttempts."""
    return await clients.authenticate(deps, source(request), *presented(request, form))


async def login_client(deps: Deps, request: Request, client_id: str | None, default: str) -> Client:
    """The client through which a user logs in: a public one names itself, a confidential one authenticates by Basic."""
    basic = _basic(request)
    if basic is None:
        return await clients.authenticate(deps, source(request), client_id or default, None)
    if client_id not in (None, basic.client_id):
        raise InvalidRequest("client_id: not the client that is calling")
    return await clients.authenticate(deps, source(request), basic.client_id, basic.secret)


async def user_of(deps: Deps, request: Request) -> Me:
    """The user of the access token or cookie; the session counts as used. Raises what `identify` raises."""
    me = await identify(deps, request)
    note_use(deps, me.active, deps.clock())
    return me


async def identify(deps: Deps, request: Request, method: str | None = None) -> Me:
    """The user of the access token or cookie. Raises MissingToken, InvalidToken, InvalidRequest, CrossSite.

    The session does not count as used yet. method: what the cookie is sent for, where that is not this request.
    """
    header, cookie = _authorization(request), cookies.session_token(request)
    if "access_token" in request.query_params:
        raise InvalidRequest("a token does not belong into a URL")
    if header is not None and cookie is not None:
        raise InvalidRequest("both a bearer token and a session cookie")
    if header is not None:
        match = _BEARER.fullmatch(header)
        if match is None:
            raise InvalidRequest("Authorization: not a bearer token")
        presented = match[1]
    elif cookie is not None:
        if (request.method if method is None else method) not in ("GET", "HEAD"):
            cookies.refuse_cross_site(request, deps.settings.allowed_origins)
        presented = cookie
    else:
        raise MissingToken("log in first")
    verdict = await look_up(deps, presented, Kind.ACCESS)
    if isinstance(verdict, Inactive):
        raise InvalidToken(NOT_ACTIVE)
    return Me(verdict, source(request, f"user:{verdict.user.sub}"), header is None)


async def admin_of(deps: Deps, request: Request, permission: Permission = "admin") -> Authority:
    """An admin, or a client with the permission. Raises what user_of and client_of raise, and for too little power
    InsufficientRole or UnauthorizedClient."""
    authority = await authority_of(deps, request)
    if not authority.may(permission):
        raise UnauthorizedClient("this client may not do that")
    return authority


async def authority_of(deps: Deps, request: Request, form: ClientForm | None = None) -> Authority:
    """A user who is an admin, or any client that authenticates."""
    header = _authorization(request)
    by_basic = header is not None and header[:6].lower() == "basic "
    by_secret = form is not None and form.client_secret is not None
    named = header is None and form is not None and form.client_id is not None
    if by_basic or by_secret or (named and cookies.session_token(request) is None):
        # Beside HTTP Basic or a cookie, a form's client_id alone is not the caller's but whose sessions are to end.
        client = await client_of(deps, request, form if by_secret or not by_basic else None)
        return Authority(source(request, f"client:{client.client_id}"), client)
    me = await user_of(deps, request)
    if ADMIN_ROLE not in me.active.user.roles:
        raise InsufficientRole("this takes the role admin")
    if me.active.session.aud and deps.settings.base_url not in me.active.session.aud:
        # The resource servers that it is for are sent it, and could administer in the admin's name.
        raise InsufficientRole("this token is for other resource servers")
    if not me.active.session.logged_in and not me.active.client.may("admin"):
        # Nobody proved anything here, and at the time the user may not have been an admin yet.
        raise InsufficientRole("this token was issued by a client that may not speak for admins")
    return Authority(me.caller, None)


def _authorization(request: Request) -> str | None:
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        raise InvalidRequest("more than one Authorization header")
    return headers[0] if headers else None


def _basic(request: Request) -> Presented | None:
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
    return Presented(unquote_plus(client_id), unquote_plus(secret))
