"""The end of a login on a page: the cookies, and the session that the browser had before."""

from urllib.parse import urlencode

from starlette.responses import Response

from authsvc.console import cookies as pages_cookies
from authsvc.console.account.destination import HOME
from authsvc.console.account.frame import STEP, go, wanted
from authsvc.console.context import PageContext
from authsvc.core.step import LIFE_S
from authsvc.errors import InsufficientAuthorization
from authsvc.flows import revoke
from authsvc.flows.steps import Completed
from authsvc.web import cookies


def login_cookie(ctx: PageContext) -> str:
    """The cookie with the token of a login in progress."""
    return f"{ctx.site.cookie_prefix}-login"


def with_next(path: str, to: str) -> str:
    """The path of a step, after which the browser goes to `to`."""
    return path if to == HOME else f"{path}?{urlencode({'next': to})}"


def to_step(ctx: PageContext, more: InsufficientAuthorization) -> Response:
    """Go on with a login, or a step-up, that needs one more step."""
    response = go(ctx, with_next(STEP, wanted(ctx)))
    pages_cookies.write(ctx.request, response, login_cookie(ctx), more.auth_session or "", LIFE_S)
    return response


async def begun(ctx: PageContext, done: Completed, response: Response) -> Response:
    """The response to a completed login or step-up. A browser has one session: the new one replaces the old one."""
    if done.begins:
        for old in cookies.session_tokens(ctx.request):
            await revoke.revoke_token(ctx.deps, ctx.caller, None, old)
    cookies.set_session(response, done.grant.access_token, done.grant.session_ends_in)
    if done.device_token is not None:
        cookies.set_device(response, done.device_token)
    pages_cookies.clear(ctx.request, response, login_cookie(ctx))
    return response
