"""The web application: `Deps` in, the routes and the layers around them out."""

from collections.abc import Awaitable, Callable
from importlib import import_module
from urllib.parse import urlsplit

from starlette import routing
from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from authsvc.api.route import Route
from authsvc.api.routes import ROUTES
from authsvc.core.token import HANDLE_LENGTH
from authsvc.driver.deadline import request_budget
from authsvc.errors import AuthError, StartupError
from authsvc.flows.deps import Deps
from authsvc.web.context import RequestContext
from authsvc.web.errors import answer, answer_http, answer_unexpected, problem
from authsvc.web.middleware.access_log import AccessLog
from authsvc.web.middleware.headers import ResponseHeaders
from authsvc.web.middleware.metrics import RequestMetrics
from authsvc.web.scope import ROUTE, SPENT


class Handle(StringConvertor):
    """A segment of a path that is a handle. `/factors/totp` has other methods than `/factors/{factor_id}`."""

    regex = f"[0-9A-Za-z]{{{HANDLE_LENGTH}}}"


register_url_convertor("handle", Handle())

Endpoint = Callable[[RequestContext], Awaitable[Response]]
# What errors tell a client in their headers. Cache-Control needs no permission (CORS-safelisted).
EXPOSED = ("Allow", "Retry-After", "WWW-Authenticate", "X-Request-ID")


def build(deps: Deps) -> ASGIApp:
    """The web application over parts that are open already, and stay open after it."""
    issuer_path = urlsplit(deps.settings.base_url).path
    app = Starlette(
        routes=[
            routing.Route(
                path.replace("{factor_id}", "{factor_id:handle}"), _bound(deps, row), methods=[row.method, *row.also]
            )
            for row in ROUTES
            if row.capability is None or row.capability in deps.settings.capabilities
            for path in dict.fromkeys((row.path, row.path + issuer_path if row.well_known else row.path))
        ]
        + _pages(deps),
        exception_handlers={AuthError: answer, HTTPException: answer_http, Exception: answer_unexpected},
    )
    app.router.redirect_slashes = False
    app.state.metrics = deps.metrics
    inner: ASGIApp = app
    if deps.settings.allowed_origins:
        inner = _for_browsers(app, deps.settings.allowed_origins)
    service: ASGIApp = RequestMetrics(ResponseHeaders(inner), deps.metrics)
    share = deps.settings.access_log_share
    return AccessLog(service, share, deps.settings.foreign_key_prefixes) if share else service


def _pages(deps: Deps) -> list[routing.BaseRoute]:
    """The pages for people on the public port. Raises StartupError."""
    if "account" not in deps.settings.capabilities:
        return []
    try:
        from authsvc.console.account.site import account_routes  # needs the extra `pages`
    except ModuleNotFoundError as missing:
        raise StartupError(f"AUTHSVC_ACCOUNT_PAGES takes the extra pages: {missing.name} is not installed") from None
    return account_routes(deps)


def endpoint_of(route: Route) -> Endpoint:
    """The function that the row names."""
    module, name = route.endpoint.split(".")
    function: Endpoint = getattr(import_module(f"authsvc.web.{module}"), name)
    return function


def _bound(deps: Deps, route: Route) -> Callable[[Request], Awaitable[Response]]:
    """The route's function, as Starlette calls it."""
    function = endpoint_of(route)
    request_s = deps.store.connection.timeouts.request_s

    async def endpoint(request: Request) -> Response:
        request.scope[ROUTE] = route
        with request_budget(request_s - request.scope.get(SPENT, 0)):
            return await function(RequestContext(deps, request))

    return endpoint


class _Cors(CORSMiddleware):
    """Starlette's, with the service's own shape of an error where a preflight is refused."""

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code == 200:
            return answer
        refused = problem(answer.status_code, "invalid_request", bytes(answer.body).decode())
        kept = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        refused.headers.update(kept)
        return refused


def _for_browsers(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """CORS for all calls but those of gateways.

    CORSMiddleware would answer a preflight that a gateway forwards with 200, and so let the original request through.
    """
    cors = _Cors(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PATCH", "DELETE"),
        allow_headers=("Authorization", "Content-Type", "X-Request-ID"),
        allow_credentials=True,
        expose_headers=EXPOSED,
    )
    gateways = {route.path for route in ROUTES if "gateway" in route.who}

    async def service(scope: Scope, receive: Receive, send: Send) -> None:
        await (app if scope["path"] in gateways else cors)(scope, receive, send)

    return service
