"""Forward-auth: a gateway asks about each request before it passes it on, and hands over who it is in headers.

Gateways understand 200, 401, 403 and 503 and take anything else for a fault of their own, so that nothing here answers
400. Whatever is malformed, unknown or ambiguous is a no. There is no caller to authenticate: nobody learns anything but
about a token that they hold.
"""

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from authsvc.core.session import Active
from authsvc.errors import AccessDenied, InsufficientRole, InsufficientScope, InvalidRequest, InvalidToken
from authsvc.flows.deps import Deps
from authsvc.web import bodies, callers
from authsvc.web.input import query

# Besides GET and HEAD: Envoy asks with the method of the request that it asks about.
METHODS = ("POST", "PUT", "PATCH", "DELETE")
# Where gateways say what that method was.
_METHOD_HEADERS = ("x-forwarded-method", "x-original-method")


async def verify(deps: Deps, request: Request) -> Response:
    demands = demanded(request)
    try:
        me = await callers.user_of(deps, request, method_of(request))
    except InvalidRequest as error:
        raise InvalidToken(str(error)) from None
    check(me.active, demands)
    return Response(headers=identity(me.active))


def demanded(request: Request) -> bodies.Demands:
    """What the gateway demands of the token. Raises AccessDenied: an unreadable demand is not none."""
    try:
        if not all(value for _, value in request.query_params.multi_items()):
            raise InvalidRequest("a demand is empty")
        return query(request, bodies.Demands)
    except InvalidRequest as error:
        raise AccessDenied(f"the gateway's demands: {error}") from None


def method_of(request: Request) -> str:
    """The method of the request that the gateway asks about; empty if that is not clear, and then it is not safe.

    Only for the cookie. These headers may be believed whoever wrote them, for all they can do is to let a browser's
    cookie pass, and no page of another site can make a browser send them.
    """
    if request.method not in ("GET", "HEAD"):
        return request.method
    said = {value for name in _METHOD_HEADERS for value in request.headers.getlist(name)}
    return said.pop() if len(said) == 1 else ""


def check(active: Active, demands: bodies.Demands) -> None:
    """Raise InvalidToken, InsufficientScope or InsufficientRole unless the token meets every demand."""
    # Like in an introspection, a token for others is none.
    if demands.audience and set(demands.audience.split()).isdisjoint(active.session.aud):
        raise InvalidToken("the access token is not active")
    if demands.scope and not set(demands.scope.split()) <= set(active.scope.split()):
        raise InsufficientScope(demands.scope)
    if demands.role and not set(demands.role.split()) <= set(active.user.roles):
        raise InsufficientRole(f"this takes the role {demands.role}")


def identity(active: Active) -> dict[str, str]:
    """Always all of them, empty where there is nothing to say: what a client sent by that name is overwritten."""
    return {
        "X-Auth-Subject": active.user.sub,
        # Letters, digits and . _ ~ - @ + stay, everything else is percent-encoded UTF-8: headers are ASCII.
        "X-Auth-Username": quote(active.user.username or "", safe="@+"),
        "X-Auth-Roles": " ".join(active.user.roles),
        "X-Auth-Scope": active.scope,
        "X-Auth-Session": active.handle,
    }
