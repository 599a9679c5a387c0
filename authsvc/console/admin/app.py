"""The application of the console: its site, its pages and the layers around them."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from authsvc.console.admin import access
from authsvc.console.admin.table import PAGES
from authsvc.console.admin.words_of_events import what_happened
from authsvc.console.context import PageContext, Site
from authsvc.console.page import routes
from authsvc.console.rendering import environment, render
from authsvc.flows.deps import Deps
from authsvc.web.middleware.access_log import AccessLog
from authsvc.web.middleware.headers import ResponseHeaders
from authsvc.web.middleware.metrics import RequestMetrics

MENU = (
    ("/", "Overview"),
    ("/users", "Users"),
    ("/sessions", "Sessions"),
    ("/clients", "Clients"),
    ("/audit", "Audit trail"),
    ("/token", "Token"),
)


def build_console(deps: Deps) -> ASGIApp:
    """The console over parts that are open already, and stay open after it."""
    site = Site(
        name="authsvc console",
        home="/",
        layout="admin/layout.html",
        static="/static",
        cookie_prefix="console",
        session_id=access.session_id,
        problem=access.problem,
        context={"menu": MENU, "what_happened": what_happened},
    )
    environment()  # made now, so that no request waits for it

    async def no_page(request: Request, error: Exception) -> Response:
        ctx = PageContext(deps, request, site)
        status = error.status_code if isinstance(error, HTTPException) else 404
        return render(ctx, "problem.html", status, title="There is no such page", text="The menu leads on.", back="/")

    app = Starlette(routes=routes(deps, site, PAGES), exception_handlers={HTTPException: no_page, Exception: _fault})
    app.router.redirect_slashes = False
    app.state.metrics = deps.metrics
    console: ASGIApp = RequestMetrics(ResponseHeaders(app, site.headers), deps.metrics)
    share = deps.settings.access_log_share
    return AccessLog(console, share) if share else console


async def _fault(request: Request, error: Exception) -> Response:
    """The last resort; the server logs the traceback."""
    request.app.state.metrics.unexpected_errors.add()
    return PlainTextResponse("Something went wrong here. The log of the service says more.\n", status_code=500)
