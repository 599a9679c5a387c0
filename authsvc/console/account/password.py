"""Changing the password, and setting one with a reset code."""

from starlette.responses import Response

from authsvc.console.account.frame import LOGIN, SECURITY, go, recent_me_of, show
from authsvc.console.account.problems import CORRECTABLE
from authsvc.console.context import PageContext
from authsvc.errors import AuthError, InvalidRequest, WeakPassword
from authsvc.flows import password as passwords
from authsvc.flows import sessions
from authsvc.web import cookies
from authsvc.web.callers import UserPrincipal


async def password_form(ctx: PageContext) -> Response:
    """The form. A step, if one is needed, comes before it."""
    me = await recent_me_of(ctx)
    return await _form(ctx, me)


async def change_password(ctx: PageContext) -> Response:
    """Set a new password. This browser gets a new cookie, and all other sessions end."""
    ctx.deps.hasher.refuse_if_full()
    me = await recent_me_of(ctx)
    current, new = ctx.form.get("current"), ctx.form.get("new")
    try:
        if not current or not new:
            raise InvalidRequest("both passwords are needed")
        if current == new:
            return await _form(ctx, me, WeakPassword("the new password is the current one"), "error.same_password")
        others = await _others(ctx, me)
        grant = await passwords.change_password(ctx.deps, me.caller, me.active, current, new, cookie=True)
    except CORRECTABLE as error:
        return await _form(ctx, me, error)
    response = go(ctx, SECURITY, "password.changed_others" if others else "password.changed", count=others)
    cookies.set_session(response, grant.access_token, grant.session_ends_in)
    return response


async def reset_form(ctx: PageContext) -> Response:
    return _reset_form(ctx)


async def reset(ctx: PageContext) -> Response:
    """Set a password with a reset code. It logs nobody in: the code came by a way of its own."""
    ctx.deps.hasher.refuse_if_full()
    code, new = ctx.form.get("code"), ctx.form.get("new")
    try:
        if not code or not new:
            raise InvalidRequest("the code and a password are needed")
        await passwords.reset_password(ctx.deps, ctx.caller, code.strip(" \t\r\n"), new)
    except CORRECTABLE as error:
        return _reset_form(ctx, error, code=code)
    # Another user may be logged in here. The login page is shown all the same.
    return go(ctx, f"{LOGIN}?again=1", "reset.done")


async def _form(
    ctx: PageContext, me: UserPrincipal, error: AuthError | None = None, instead: str | None = None
) -> Response:
    return show(
        ctx,
        "password.html",
        error=error,
        instead=instead,
        here="security",
        me=me.active.user,
        length=ctx.deps.settings.password_min_length,
        others=await _others(ctx, me),
        # The field that was wrong gets the cursor.
        focus="new" if isinstance(error, WeakPassword) else "current",
    )


async def _others(ctx: PageContext, me: UserPrincipal) -> int:
    """How many other devices are logged in."""
    return len(await sessions.list_active(ctx.deps, me.active.user.sub)) - 1


def _reset_form(ctx: PageContext, error: AuthError | None = None, *, code: str | None = None) -> Response:
    return show(ctx, "reset.html", error=error, length=ctx.deps.settings.password_min_length, code=code)
