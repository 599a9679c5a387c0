"""Forward-auth: a gateway asks about each request before it passes it on, and hands over who it is in headers.

Gateways understand 200, 401, 403 and 503 and take anything else for a fault of their own, so that nothing here answers
400. Whatever is malformed, unknown or ambiguous is a no. There is no caller to authenticate: nobody learns anything but
about a token that they hold.
"""

from functools import lru_cache
from urllib.parse import quote

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from authsvc.api import schemas as bodies
from authsvc.api.parsing import load_form, validated
from authsvc.core.session import Active, Inactive
from authsvc.errors import (
    AccessDenied,
    CorruptRecord,
    InsufficientRole,
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
)
from authsvc.flows.deps import Deps
from authsvc.web import callers

# Besides GET and HEAD: Envoy asks with the method of the request that it asks about.
METHODS = ("POST", "PUT", "PATCH", "DELETE")
# Where gateways say what that method was.
METHOD_HEADERS = ("x-forwarded-method", "x-original-method")


async def verify(deps: Deps, request: Request) -> Response:
    demands = demanded(request.scope["query_string"])
    try:
        me = await callers.user_of(deps, request, method_of(request))
    except InvalidRequest as error:
        raise InvalidToken(str(error)) from None
    return Response(headers=passing(me.active, demands))


@lru_cache(maxsize=128)  # a gateway has few sets of demands
def demanded(query: bytes) -> bodies.Demands:
    """What the gateway demands of the token. Raises AccessDenied: an unreadable demand is not none."""
    try:
        if not all(value for _, value in QueryParams(query).multi_items()):
            raise InvalidRequest("a demand is empty")
        return validated(bodies.Demands, load_form(query))
    except InvalidRequest as error:
        raise AccessDenied(f"the gateway's demands: {error}") from None


def method_of(request: Request) -> str:
    """The method of the request that the gateway asks about; empty if that is not clear, and then it is not safe.

    Only for the cookie. These headers may be believed whoever wrote them, for all they can do is to let a browser's
    cookie pass, and no page of another site can make a browser send them.
    """
    if request.method not in ("GET", "HEAD"):
        return request.method
    said = {value for name in METHOD_HEADERS for value in request.headers.getlist(name)}
    return said.pop() if len(said) == 1 else ""


def passing(verdict: Active | Inactive, demands: bodies.Demands) -> dict[str, str]:
    """Who it is, in headers. Raises InvalidToken, InsufficientScope or InsufficientRole unless every demand is met."""
    if isinstance(verdict, Inactive):
        raise InvalidToken(callers.NOT_ACTIVE)
    # Like in an introspection, a token for others is none.
    if demands.audience and set(demands.audience.split()).isdisjoint(verdict.session.aud):
        raise InvalidToken(callers.NOT_ACTIVE)
    if demands.scope and not set(demands.scope.split()) <= set(verdict.scope.split()):
        raise InsufficientScope(demands.scope)
    if demands.role and not set(demands.role.split()) <= set(verdict.user.roles):
        raise InsufficientRole(f"this takes the role {demands.role}")
    return identity(verdict)


def identity(active: Active) -> dict[str, str]:
    """Always all of them, empty where there is nothing to say: what a client sent by that name is overwritten.

    Raises CorruptRecord for what fits into no header.
    """
    who = {
        "x-auth-subject": active.user.sub,
        # Letters, digits and . _ ~ - @ + stay, everything else is percent-encoded UTF-8: headers are ASCII.
        "x-auth-username": quote(active.user.username or "", safe="@+"),
        "x-auth-roles": " ".join(active.user.roles),
        "x-auth-scope": active.scope,
        "x-auth-session": active.handle,
    }
    said = "".join(who.values())
    if not (said.isascii() and said.isprintable()):  # no call of ours writes such a record
        raise CorruptRecord("a subject, role or scope with a character that fits into no header")
    return who
