"""Exceptions as HTTP answers: statuses and codes are those of `api/statuses.py`, headers are added here."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from authsvc import errors as e
from authsvc.api.parsing import plain
from authsvc.api.statuses import STATUSES
from authsvc.metrics import reason_of
from authsvc.web import cookies
from authsvc.web.middleware.headers import with_headers
from authsvc.web.middleware.request_id import request_id

REALM = "authsvc"
RETRY_AFTER_S = 1

# The log tells the operator more.
_UNAVAILABLE = "the store can't be asked right now"
_DESCRIPTIONS: dict[type[Exception], str] = {
    e.StoreUnavailable: _UNAVAILABLE,
    e.AdminsUnknown: "the index of admins is still being filled; try again in a minute",
    e.CorruptRecord: _UNAVAILABLE,
    e.NewerFormat: _UNAVAILABLE,
    e.FormatNotAllowed: "this needs a newer format of the store; an operator runs: authsvc service raise-format",
    e.NotDurable: "the change may not last: what was to end may still be alive, or come back; repeat the request",
}


async def answer(request: Request, error: Exception) -> Response:
    """The handler of every AuthError."""
    if isinstance(error, e.AuthError):
        request.app.state.metrics.refusals.add(reason_of(error))
    return rendered(error, by_cookie=cookies.was_read(request))


def rendered(error: Exception, *, by_cookie: bool) -> Response:
    """Render an AuthError. An exception that is not in the table becomes a 500.

    by_cookie: whether the token was read from the session cookie.
    """
    status, code = STATUSES.get(type(error), (500, "server_error")) if isinstance(error, e.AuthError) else (500, "")
    if status == 500:
        return problem(500, "server_error", "something went wrong here")
    description = _DESCRIPTIONS.get(type(error)) or str(error)
    response = problem(status, code, description)
    if isinstance(error, e.TooManyAttempts | e.TooManyChanges | e.TooManyTokens):
        response.headers["Retry-After"] = str(error.retry_after_s)
    elif status == 413:
        response.headers["Connection"] = "close"  # the rest of the body is not read
    challenge = _challenge(error)
    if isinstance(error, e.InsufficientAuthorization) and error.auth_session is not None:
        response = _with_session(description, error)
    if challenge:
        response.headers["WWW-Authenticate"] = challenge
    if by_cookie and isinstance(error, e.InvalidToken):
        cookies.clear_session(response)  # the session of this cookie is over, so the browser forgets it too
    return response


async def answer_http(request: Request, error: Exception) -> Response:
    """Render what Starlette's routing raises: no such path, no such method."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 405:
        allowed = ", ".join(sorted(_methods(request)))
        response = problem(405, "method_not_allowed", f"this path takes {allowed}")
        response.headers["Allow"] = allowed
        return response
    if error.status_code == 404:
        hint = "/openapi.yaml lists those there are"
        if _is_path_without_slash(request):
            hint = "leave out the slash at its end"
        return problem(404, "not_found", f"there is no such path; {hint}")
    return problem(error.status_code, "invalid_request", error.detail)


async def answer_unexpected(request: Request, error: Exception) -> Response:
    """The last resort; the server logs the traceback."""
    request.app.state.metrics.unexpected_errors.add()
    return problem(500, "server_error", "something went wrong here")


def problem(status: int, code: str, description: str) -> Response:
    again = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
    return JSONResponse({"error": code, "error_description": plain(description)}, status_code=status, headers=again)


def _with_session(description: str, error: e.InsufficientAuthorization) -> Response:
    """The answer that names the login in progress and what continues it."""
    members = {"auth_session": error.auth_session, "methods": error.methods, "expires_in": error.expires_in}
    body = {"error": STATUSES[type(error)][1], "error_description": plain(description)}
    return JSONResponse(body | members, status_code=STATUSES[type(error)][0])


async def busy(scope: Scope, receive: Receive, send: Send) -> None:
    """The application that refuses a request while the worker has too many."""
    scope["request_id"] = request_id(scope)
    response = rendered(e.Busy(), by_cookie=False)
    await response(scope, receive, with_headers(scope, send))


def _methods(request: Request) -> set[str]:
    """The methods of all routes with this path (RFC 9110 section 15.5.6). Starlette names the first route's only."""
    return {method for route in _matching(request, request.scope) for method in route.methods}


def _matching(request: Request, scope: Scope) -> list[Any]:
    return [route for route in request.app.routes if route.matches(scope)[0] is not Match.NONE]


def _is_path_without_slash(request: Request) -> bool:
    """Whether the path ends with a slash, and is a path of ours without it."""
    path = request.scope["path"]
    return path.endswith("/") and bool(_matching(request, {**request.scope, "path": path[:-1]}))


def _challenge(error: Exception) -> str | None:
    if isinstance(error, e.InvalidClient):
        # Also where the secret came in the form: every 401 has a challenge (RFC 9110 section 15.5.2).
        return f'Basic realm="{REALM}"'
    if isinstance(error, e.InsufficientUserAuthentication):
        return _stronger_login(error)
    if isinstance(error, e.MissingToken | e.InvalidCredentials | e.WrongFactor):
        return f'Bearer realm="{REALM}"'
    if isinstance(error, e.InvalidToken | e.WrongAudience):
        return f'Bearer realm="{REALM}", error="invalid_token", error_description="{plain(str(error))}"'
    if isinstance(error, e.InsufficientRole | e.InsufficientScope):
        scope = f', scope="{error.scope}"' if isinstance(error, e.InsufficientScope) else ""
        return f'Bearer realm="{REALM}", error="insufficient_scope", error_description="{plain(str(error))}"{scope}'
    return None


def _stronger_login(error: e.InsufficientUserAuthentication) -> str:
    """The challenge of RFC 9470 section 3."""
    wanted = {"acr_values": error.acr_values, "max_age": error.max_age}
    members = "".join(f', {name}="{value}"' for name, value in wanted.items() if value is not None)
    description = plain(str(error))
    code = STATUSES[type(error)][1]
    return f'Bearer realm="{REALM}", error="{code}", error_description="{description}"{members}'
