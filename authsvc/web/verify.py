"""Forward-auth: a gateway asks about each request before it passes it on, and adds the answer's `X-Auth-*` headers.

Gateways understand 200, 401, 403 and 503, and treat any other status as an error of the service. So a malformed,
unknown or ambiguous request gets 401 or 403 instead of 400. The gateway does not authenticate itself. It learns only
about the token that it sends.
"""

from functools import lru_cache
from typing import Literal
from urllib.parse import quote

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from authsvc.api.parsing import load_form, validated
from authsvc.api.schemas.requests import Requirements
from authsvc.core.session import Active, Inactive
from authsvc.errors import (
    AccessDenied,
    CorruptRecord,
    InsufficientRole,
    InsufficientScope,
    InsufficientUserAuthentication,
    InvalidRequest,
    InvalidToken,
    WrongAudience,
)
from authsvc.flows.introspect import note_use
from authsvc.web import callers
from authsvc.web.context import RequestContext

# Where gateways say what that method was.
METHOD_HEADERS = ("x-forwarded-method", "x-original-method")
# A browser sends them with the handshake of a WebSocket, and no page can leave them out (RFC 6455 section 4.1).
HANDSHAKE_HEADERS = ("sec-websocket-key", "sec-websocket-version")
_SEPARATORS = {"space": " ", "comma": ","}


async def verify(ctx: RequestContext) -> Response:
    requirements = parse_requirements(ctx.request.scope["query_string"])
    try:
        me = await callers.identify(ctx, method_of(ctx.request), requirements.source)
    except InvalidRequest as error:
        raise InvalidToken(str(error)) from None
    answer = Response(headers=authorize(me.active, requirements, ctx.deps.clock()))
    note_use(
        ctx.deps, me.active, ctx.deps.clock()
    )  # after `authorize`: a refused token must not keep its session alive
    return answer


@lru_cache(maxsize=128)  # a gateway has few sets of requirements
def parse_requirements(query: bytes) -> Requirements:
    """Read what the gateway requires of the token. Raises AccessDenied for a query that cannot be read."""
    try:
        if not all(value for _, value in QueryParams(query).multi_items()):
            raise InvalidRequest("a requirement is empty")
        return validated(Requirements, load_form(query))
    except InvalidRequest as error:
        raise AccessDenied(f"the gateway's requirements: {error}") from None


def method_of(request: Request) -> str:
    """The method of the request that the gateway asks about; empty, which is not a safe method, if that is unclear.

    It only decides whether the cookie counts. A client can write these headers itself, but a page of another site
    cannot make a browser send them, so they are safe to believe.
    """
    if request.method not in ("GET", "HEAD"):
        return request.method
    if _is_handshake(request):
        return ""  # a WebSocket begins with a GET, and changes things afterwards
    said = {value for name in METHOD_HEADERS for value in request.headers.getlist(name)}
    return said.pop() if len(said) == 1 else ""


def _is_handshake(request: Request) -> bool:
    """Whether the gateway asks about the handshake of a WebSocket."""
    if "websocket" in request.headers.get("upgrade", "").lower():
        return True
    return any(name in request.headers for name in HANDSHAKE_HEADERS)


def authorize(verdict: Active | Inactive, requirements: Requirements, now: float) -> dict[str, str]:
    """The identity headers of a token that meets every requirement.

    Raises InvalidToken, WrongAudience, InsufficientScope, InsufficientRole or InsufficientUserAuthentication.
    """
    if isinstance(verdict, Inactive):
        raise InvalidToken(callers.NOT_ACTIVE)
    # As in an introspection, a token for another audience counts as inactive.
    if requirements.audience and set(requirements.audience.split(" ")).isdisjoint(verdict.aud):
        raise WrongAudience(callers.NOT_ACTIVE)
    if requirements.scope and not set(requirements.scope.split(" ")) <= set(verdict.scope.split(" ")):
        raise InsufficientScope(requirements.scope)
    if requirements.role and not set(requirements.role.split(" ")) <= set(verdict.user.roles):
        raise InsufficientRole(f"this takes the role {requirements.role}")
    _require_authentication(verdict, requirements, now)
    return identity_headers(verdict, requirements.roles_as)


def _require_authentication(active: Active, requirements: Requirements, now: float) -> None:
    """Raise InsufficientUserAuthentication for a login that is too weak or too old (RFC 9470)."""
    acr, max_age = requirements.acr, requirements.max_age
    if acr is None and max_age is None:
        return
    authentication = active.session.authentication(active.client)
    strong = acr is None or authentication.reaches(acr)
    recent = max_age is None or authentication.is_recent(max_age, now)
    if not (strong and recent):
        raise InsufficientUserAuthentication(acr, max_age)


def holds_until(active: Active, requirements: Requirements) -> int | None:
    """Until when the login is recent enough, in epoch seconds; None: for ever."""
    auth_time = active.session.authentication(active.client).auth_time
    return None if requirements.max_age is None or auth_time is None else auth_time + requirements.max_age


def identity_headers(active: Active, roles_as: Literal["space", "comma"] = "space") -> dict[str, str]:
    """All five `X-Auth-*` headers. An absent value is empty, so the gateway overwrites what a client sent.

    Raises CorruptRecord for a value that does not fit into a header.
    """
    who = {
        "x-auth-subject": active.user.sub,
        # Letters, digits and . _ ~ - @ + stay, everything else is percent-encoded UTF-8: headers are ASCII.
        "x-auth-username": quote(active.user.username or "", safe="@+"),
        "x-auth-roles": _SEPARATORS[roles_as].join(active.user.roles),
        "x-auth-scope": active.scope,
        "x-auth-session": active.handle,
    }
    said = "".join(who.values())
    if not (said.isascii() and said.isprintable()):  # the service never writes such a record
        raise CorruptRecord("a subject, role or scope with a character that fits into no header")
    return who
