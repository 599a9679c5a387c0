"""The web application: `Deps` in, the routes and the layers around them out."""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from authsvc.api import openapi
from authsvc.api.routes import ROUTES, Verb
from authsvc.driver.connection import REQUEST_TIMEOUT_S, patience
from authsvc.errors import AuthError
from authsvc.flows.deps import Deps
from authsvc.metrics import Call
from authsvc.web.errors import answer, answer_http, answer_unexpected
from authsvc.web.middleware.access_log import AccessLog
from authsvc.web.middleware.headers import Envelope
from authsvc.web.middleware.metrics import ROUTE, Measured


def build(deps: Deps) -> ASGIApp:
    """The web application over parts that are open already and stay open after it."""
    routes = [Route(verb.path, _route(deps, verb), methods=[verb.method, *verb.also]) for verb in ROUTES]
    app = Starlette(
        routes=routes,
        exception_handlers={AuthError: answer, HTTPException: answer_http, Exception: answer_unexpected},
    )
    app.router.redirect_slashes = False
    app.state.trusted_proxies = deps.settings.trusted_proxies
    app.state.contract = openapi.text()
    app.state.metrics = deps.metrics
    inner: ASGIApp = app
    if deps.settings.allowed_origins:
        inner = _for_browsers(app, deps.settings.allowed_origins)
    service: ASGIApp = Measured(Envelope(inner), deps.metrics)
    share = deps.settings.access_log_share
    return AccessLog(service, share) if share else service


def _for_browsers(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """The application with CORS, but for gateways: what one asks about may be a preflight, which would be let pass."""
    cors = CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PATCH", "DELETE"),
        allow_headers=("Authorization", "Content-Type", "X-Request-ID"),
        allow_credentials=True,
    )
    gateways = {verb.path for verb in ROUTES if "gateway" in verb.who}

    async def service(scope: Scope, receive: Receive, send: Send) -> None:
        await (app if scope["path"] in gateways else cors)(scope, receive, send)

    return service


def _route(deps: Deps, verb: Verb) -> Callable[[Request], Awaitable[Response]]:
    call = Call(verb.method, verb.path)

    async def endpoint(request: Request) -> Response:
        request.scope[ROUTE] = call
        with patience(REQUEST_TIMEOUT_S):
            return await verb.endpoint(deps, request)

    return endpoint
