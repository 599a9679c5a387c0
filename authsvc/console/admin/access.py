"""Who uses the console: the session in its cookie, and the level of its user."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from authsvc.console import cookies
from authsvc.console.context import PageContext
from authsvc.console.flash import redirect
from authsvc.console.local import is_local
from authsvc.console.page import Page
from authsvc.console.rendering import render
from authsvc.core import token as tokens
from authsvc.core.authentication import AAL2
from authsvc.core.event import check_comment
from authsvc.core.powers import Level, reaches
from authsvc.core.session import Active, Inactive
from authsvc.core.token import Kind
from authsvc.errors import (
    AuthError,
    InsufficientRole,
    InsufficientUserAuthentication,
    InvalidToken,
    MissingToken,
    StoreUnavailable,
)
from authsvc.flows.console_client import CONSOLE
from authsvc.flows.deps import Caller
from authsvc.flows.first_admin import has_admin
from authsvc.flows.introspect import look_up, note_use
from authsvc.flows.step_up import require_recent, require_strong

SESSION = "console-session"
# A script that keeps a page up to date sends this field. An open page is no use: the session ends without its admin.
REFRESH = "x-refresh"

_ENDED = "the session has ended"


@dataclass(frozen=True, slots=True)
class Admin:
    """The person who uses the console."""

    active: Active
    caller: Caller
    level: Level

    def may(self, needed: Level) -> bool:
        return reaches(self.level, needed)

    @property
    def name(self) -> str:
        return self.active.user.username or self.active.user.sub


Show = Callable[[PageContext, Admin], Awaitable[Response]]


def page(method: str, path: str, show: Show, level: Level = "auditor", *, asks: bool = False) -> Page:
    """A page for admins of at least this level. A form that changes something also takes a recent login.

    asks: whether the form changes nothing, and only has what must not stand in a URL.
    """
    return Page(method, path, partial(_as_admin, show, level, method == "POST" and not asks))


async def _as_admin(show: Show, level: Level, changes: bool, ctx: PageContext) -> Response:
    me = await admin_of(ctx)
    if not me.may(level):
        raise InsufficientRole(f"this takes the level {level}, and you have the level {me.level}")
    if changes:
        await require_recent(ctx.deps, me.active)
    return await show(ctx, me)


async def admin_of(ctx: PageContext) -> Admin:
    """The person behind the session in the cookie.

    Only a session of the console's own client counts: other tokens reach resource servers, which could use them here.
    From another machine the session takes a second factor. Raises MissingToken, InvalidToken, InsufficientRole,
    InsufficientUserAuthentication.
    """
    active = await active_of(ctx)
    level = ctx.deps.settings.powers.level_of(active.user.roles)
    if level is None:
        raise InsufficientRole("this account is not an admin's")
    if active.session.authentication(active.client).acr != AAL2 and not is_local(ctx.request):
        raise InsufficientUserAuthentication(AAL2)
    require_strong(ctx.deps, active)
    if REFRESH not in ctx.request.headers:
        note_use(ctx.deps, active, ctx.deps.clock())
    comment = check_comment(ctx.form["comment"]) if "comment" in ctx.form else None
    caller = replace(ctx.caller_as(f"user:{active.user.sub}"), level=level, comment=comment)
    ctx.me = Admin(active, caller, level)
    return Admin(active, caller, level)


async def active_of(ctx: PageContext) -> Active:
    """The session in the cookie, whoever its user is. Raises MissingToken, InvalidToken."""
    presented = cookies.read(ctx.request, SESSION)
    if presented is None:
        raise MissingToken("nobody is logged in here")
    verdict = await look_up(ctx.deps, presented)
    if isinstance(verdict, Inactive) or verdict.client.client_id != CONSOLE or not verdict.session.in_cookie:
        raise InvalidToken(_ENDED)
    return verdict


def session_id(request: Request) -> str | None:
    """The public id of the session whose token is in the cookie."""
    token = tokens.parse(cookies.read(request, SESSION) or "", Kind.ACCESS)
    return None if token is None else token.handle


async def problem(ctx: PageContext, error: AuthError) -> Response | None:
    """A step that the page asks for: to log in, or to prove something again."""
    if isinstance(error, MissingToken | InvalidToken):
        response = redirect(ctx, f"/login?next={quote(_asked_for(ctx), safe='')}")
        cookies.clear(ctx.request, response, SESSION)
        return response
    if isinstance(error, InsufficientUserAuthentication):
        return redirect(ctx, f"/confirm?next={quote(_asked_for(ctx), safe='')}")
    if isinstance(error, InsufficientRole) and ctx.me is None:
        return render(ctx, "admin/no_admin.html", 403, first=await _lacks_admin(ctx))
    return None


async def _lacks_admin(ctx: PageContext) -> bool:
    """Whether no admin can log in yet. False if the store does not say so."""
    try:
        return not await has_admin(ctx.deps)
    except StoreUnavailable:
        return False


def _asked_for(ctx: PageContext) -> str:
    """The page to show after the step. A form that stands in a list names the list as `back`."""
    url = ctx.request.url
    if ctx.request.method == "POST":
        return safe_path(ctx.form.get("back", url.path))
    return safe_path(url.path + (f"?{url.query}" if url.query else ""))


def safe_path(text: str) -> str:
    """The path if it is one of this site; else the first page. `//host` and `/\\host` would lead elsewhere."""
    fit = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isascii() and text.isprintable()
    return text if fit and len(text) <= 2000 else "/"
