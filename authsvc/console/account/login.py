"""Logging in and out. The session is that of the product's own cookie, so a first-party web app is logged in too."""

from contextlib import suppress

from starlette.responses import Response

from authsvc.api.schemas.passkeys import KnownCredential
from authsvc.console.account import credentials
from authsvc.console.account.destination import is_account
from authsvc.console.account.frame import LOGIN, go, me_of, show, wanted
from authsvc.console.account.problems import CORRECTABLE
from authsvc.console.account.session import begun, to_step
from authsvc.console.context import PageContext
from authsvc.core.client import BUILT_IN
from authsvc.errors import (
    AccessDenied,
    AuthError,
    InsufficientAuthorization,
    InvalidRequest,
    InvalidSession,
    InvalidToken,
    MissingToken,
    WrongAudience,
)
from authsvc.flows import login as logins
from authsvc.flows import passkeys, revoke, sessions
from authsvc.flows.grants import Asked
from authsvc.flows.steps import Completed
from authsvc.web import callers, cookies

_NOBODY = (MissingToken, InvalidToken, InvalidRequest, WrongAudience, AccessDenied)


async def login_form(ctx: PageContext) -> Response:
    """The form. Somebody who is logged in and wants to see an account page gets it at once."""
    to = wanted(ctx)
    again = "again" in ctx.request.query_params
    # An app of another path sends only those users here whose session does not suffice for it.
    if is_account(to) and not again and await _is_logged_in(ctx):
        return go(ctx, to)
    return _form(ctx)


async def log_in(ctx: PageContext) -> Response:
    """The password. Either it is enough, or the next step is asked for."""
    ctx.deps.hasher.refuse_if_full()
    username, password = ctx.form.get("username"), ctx.form.get("password")
    client, service = await callers.login_client(ctx, None, BUILT_IN)
    try:
        if not username or not password:
            raise InvalidRequest("username and password are needed")
        grant = await logins.login(
            ctx.deps,
            ctx.caller,
            client,
            service,
            username=username,
            password=password,
            scope=ctx.deps.settings.app_scope,
            cookie=True,
            device_token=cookies.device_token(ctx.request),
        )
    except InsufficientAuthorization as more:
        return to_step(ctx, more)
    except CORRECTABLE as error:
        return _form(ctx, error, username=username)
    return await begun(ctx, Completed(grant, cookie=True, begins=True), go(ctx, wanted(ctx)))


async def log_in_by_passkey(ctx: PageContext) -> Response:
    """The answer of a passkey, which says who its user is."""
    asked = Asked(ctx.deps.settings.app_scope, None, cookie=True)
    client, service = await callers.login_client(ctx, None, BUILT_IN)
    try:
        answer = credentials.of_form(ctx, KnownCredential).assertion()
        auth_session = ctx.form.get("auth_session", "")
        grant = await passkeys.login(ctx.deps, ctx.caller, client, service, auth_session, answer, asked)
    except (*CORRECTABLE, InvalidSession) as error:
        return _form(ctx, error, instead="error.passkey")
    return await begun(ctx, Completed(grant, cookie=True, begins=True), go(ctx, wanted(ctx)))


async def logout_form(ctx: PageContext) -> Response:
    """Asks first: a link of an app leads here, and reading a page changes nothing."""
    return show(ctx, "logout.html")


async def log_out(ctx: PageContext) -> Response:
    """End the session of this browser. Of two cookies one was planted, and both sessions end."""
    presented = cookies.session_tokens(ctx.request)
    response = go(ctx, LOGIN, "login.logged_out")
    if len(presented) > 1:
        for token in presented:
            await revoke.revoke_token(ctx.deps, ctx.caller, None, token)
        cookies.clear_all(response)
        return response
    with suppress(MissingToken, InvalidToken):  # it has ended already
        me = await callers.session_of(ctx)
        await sessions.logout(ctx.deps, me.caller, me.active)
    cookies.clear_session(response)
    return response


def _form(
    ctx: PageContext, error: AuthError | None = None, *, username: str | None = None, instead: str | None = None
) -> Response:
    return show(ctx, "login.html", error=error, instead=instead, username=username, next=wanted(ctx))


async def _is_logged_in(ctx: PageContext) -> bool:
    try:
        await me_of(ctx)
    except _NOBODY:
        return False
    return True
