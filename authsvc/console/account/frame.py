"""What all account pages share: their texts, the user who is asking, where to go next, and how a page is shown."""

from typing import Any, cast

from starlette.responses import Response

from authsvc.console.account.destination import HOME, destination
from authsvc.console.account.problems import problem_of
from authsvc.console.account.texts import Texts
from authsvc.console.context import PageContext
from authsvc.console.flash import Message, Tone, redirect
from authsvc.console.rendering import render
from authsvc.errors import AuthError, MissingToken
from authsvc.flows.step_up import require_recent
from authsvc.web import callers
from authsvc.web.callers import UserPrincipal

LOGIN = f"{HOME}/login"
STEP = f"{LOGIN}/step"
CONFIRM = f"{HOME}/confirm"
SECURITY = f"{HOME}/security"


def texts(ctx: PageContext) -> Texts:
    return cast(Texts, ctx.site.context["t"])


async def me_of(ctx: PageContext) -> UserPrincipal:
    """The user of the session cookie. A bearer token opens no page. Raises what `callers.user_of` raises."""
    me = await callers.user_of(ctx)
    if not me.by_cookie:
        raise MissingToken("an account page takes the session cookie")
    return me


async def recent_me_of(ctx: PageContext, *, always: bool = False) -> UserPrincipal:
    """The user of the session cookie, who has logged in recently. Raises InsufficientUserAuthentication, too.

    always: as `require_recent` takes it.
    """
    me = await me_of(ctx)
    await require_recent(ctx.deps, me.active, always=always)
    return me


def wanted(ctx: PageContext) -> str:
    """Where the browser goes at the end of these steps: as the form or the query says, if that is allowed."""
    given = ctx.form.get("next") or ctx.request.query_params.get("next")
    return destination(given, ctx.deps.settings.allowed_origins)


def show(
    ctx: PageContext, template: str, *, error: AuthError | None = None, instead: str | None = None, **context: Any
) -> Response:
    """A page. error: what did not work. instead: the text with this name tells it better than the error does."""
    t, length = texts(ctx), ctx.deps.settings.password_min_length
    problem = None if error is None else problem_of(error, t, password_length=length)
    if problem is not None and instead is not None and problem.status < 429:
        problem = problem._replace(text=t(instead))
    status = 200 if problem is None else problem.status
    response = render(ctx, f"account/{template}", status, problem=problem and problem.text, **context)
    if problem is not None and problem.retry_after_s:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    return response


def confirm(
    ctx: PageContext, me: UserPrincipal, *, here: str, back: str, title: str, lines: list[str], submit: str
) -> Response:
    """A page that asks before something is done. here: its place in the menu. back: where its refusal leads."""
    user = me.active.user
    return show(ctx, "confirm.html", here=here, me=user, back=back, title=title, lines=lines, submit=submit)


def go(ctx: PageContext, path: str, said: str | None = None, tone: Tone = "done", **values: object) -> Response:
    """Send the browser to a page, which shows the text with the name `said`."""
    return redirect(ctx, path, None if said is None else Message(texts(ctx)(said, **values), tone))
