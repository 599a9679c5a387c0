"""Logging in to the console, its later steps, proving something again, and logging out."""

from urllib.parse import quote

from starlette.responses import Response

from authsvc.console import cookies
from authsvc.console.admin.access import SESSION, active_of, safe_path
from authsvc.console.context import PageContext
from authsvc.console.flash import Message, redirect
from authsvc.console.local import is_local
from authsvc.console.rendering import render
from authsvc.core.authentication import AAL2
from authsvc.core.client import Client
from authsvc.core.step import LIFE_S
from authsvc.errors import (
    InsufficientAuthorization,
    InvalidCredentials,
    InvalidRequest,
    InvalidToken,
    MissingToken,
    TooManyAttempts,
)
from authsvc.flows import login as logins
from authsvc.flows import revoke, sessions
from authsvc.flows.console_client import console_client
from authsvc.flows.grants import Grant

# The token of a login in progress. It does not stand in a URL.
STEP = "console-step"


async def login_page(ctx: PageContext) -> Response:
    return _form(ctx, safe_path(ctx.request.query_params.get("next", "/")))


async def log_in(ctx: PageContext) -> Response:
    deps, following = ctx.deps, safe_path(ctx.form.get("next", "/"))
    deps.hasher.refuse_if_full()
    client, service = await client_of(ctx), await deps.store.service.get()
    username, password = ctx.form.get("username", ""), ctx.form.get("password", "")
    try:
        grant = await logins.login(deps, ctx.caller, client, service, username=username, password=password, cookie=True)
    except InsufficientAuthorization as more:
        return to_step(ctx, more, following)
    except (InvalidCredentials, InvalidRequest):
        return _form(ctx, following, 401, "This is not a name and its password.", username)
    except TooManyAttempts as error:
        response = _form(ctx, following, 429, f"Too many attempts. Wait {error.retry_after_s} seconds.", username)
        response.headers["Retry-After"] = str(error.retry_after_s)
        return response
    return await entered(ctx, grant, redirect(ctx, following))


async def client_of(ctx: PageContext) -> Client:
    """The client of a login here. From another machine, a user without a second factor has to add one."""
    client = await console_client(ctx.deps)
    return client if is_local(ctx.request) else client.but(acr=AAL2)


def _form(ctx: PageContext, following: str, status: int = 200, fault: str | None = None, name: str = "") -> Response:
    return render(ctx, "admin/login.html", status, following=following, fault=fault, username=name)


def to_step(ctx: PageContext, more: InsufficientAuthorization, following: str) -> Response:
    """Go on with a login, or a proof, that needs more."""
    response = redirect(ctx, f"/login/step?next={quote(following, safe='')}")
    cookies.write(ctx.request, response, STEP, more.auth_session or "", LIFE_S)
    return response


async def entered(ctx: PageContext, grant: Grant, response: Response) -> Response:
    """Put the token of a new session into the cookie. The session that the browser had before ends."""
    if (old := cookies.read(ctx.request, SESSION)) is not None:
        await revoke.revoke_token(ctx.deps, ctx.caller, None, old)
    return with_session(ctx, grant, response)


def with_session(ctx: PageContext, grant: Grant, response: Response) -> Response:
    """Put the token of a session into the cookie, and forget the login in progress."""
    cookies.write(ctx.request, response, SESSION, grant.access_token, grant.session_ends_in)
    cookies.clear(ctx.request, response, STEP)
    return response


async def log_out(ctx: PageContext) -> Response:
    try:
        active = await active_of(ctx)
        await sessions.logout(ctx.deps, ctx.caller_as(f"user:{active.user.sub}"), active)
    except (MissingToken, InvalidToken):
        pass  # it has ended already
    response = redirect(ctx, "/login", Message("You are logged out."))
    cookies.clear(ctx.request, response, SESSION)
    return response
