"""A row of a table of pages, and how a site serves it: check the form, call the function, turn errors into pages."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from starlette import routing
from starlette.requests import Request
from starlette.responses import Response

from authsvc.api.parsing import FORM, load_form
from authsvc.api.statuses import STATUSES
from authsvc.console import static
from authsvc.console.context import TOKEN_FIELD, PageContext, Site
from authsvc.console.problems import problem_page
from authsvc.driver.deadline import request_budget
from authsvc.errors import AuthError, UnsupportedMediaType
from authsvc.flows.deps import Deps
from authsvc.metrics import reason_of
from authsvc.web.cookies import refuse_cross_site
from authsvc.web.reading import capped
from authsvc.web.scope import ROUTE

_MAX_FORM = 64 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """One page. path: without the prefix of the site. headers: instead of the site's."""

    method: str
    path: str
    show: Callable[[PageContext], Awaitable[Response]]
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A page for the layers around it, which read the same fields of a route of the API."""

    method: str
    path: str
    headers: Mapping[str, str]
    max_body: int = _MAX_FORM


def routes(deps: Deps, site: Site, pages: Iterable[Page]) -> list[routing.BaseRoute]:
    """The routes of a site, and of its static files."""
    prefix = site.home.rstrip("/")
    served: list[routing.BaseRoute] = [_static(site)]
    for page in pages:
        path = f"{prefix}{page.path}" if page.path != "/" or not prefix else prefix
        served.append(routing.Route(path, _bound(deps, site, page, path), methods=[page.method]))
    return served


def _bound(deps: Deps, site: Site, page: Page, path: str) -> Callable[[Request], Awaitable[Response]]:
    row = Row(page.method, path, page.headers or site.headers)
    request_s = deps.store.connection.timeouts.request_s

    async def endpoint(request: Request) -> Response:
        request.scope[ROUTE] = row
        ctx = PageContext(deps, request, site)
        try:
            with request_budget(request_s):
                if page.method == "POST":
                    ctx.form = await _form(ctx)
                return await page.show(ctx)
        except AuthError as error:
            deps.metrics.refusals.add(reason_of(error))
            return await site.problem(ctx, error) or problem_page(ctx, error, STATUSES.get(type(error), (500, ""))[0])

    return endpoint


async def _form(ctx: PageContext) -> dict[str, str]:
    """The fields of a form that a page of this site has made. Raises CrossSite, InvalidRequest, TooLarge."""
    refuse_cross_site(ctx.request, ctx.deps)
    if ctx.request.headers.get("content-type", "").partition(";")[0] != FORM:
        raise UnsupportedMediaType("this page takes a form")
    fields = load_form(await capped(ctx.request))
    ctx.check_form_token(fields.pop(TOKEN_FIELD, None))
    return fields


def _static(site: Site) -> routing.Route:
    row = Row("GET", f"{site.static}/{{name}}", static.HEADERS)

    async def endpoint(request: Request) -> Response:
        request.scope[ROUTE] = row
        return await static.serve(request)

    return routing.Route(row.path, endpoint, methods=["GET"])
