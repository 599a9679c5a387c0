"""Making the first admin with the link that the start printed."""

import hmac
from dataclasses import replace

from starlette.responses import Response

from authsvc.console.admin.login import client_of, entered, to_step
from authsvc.console.context import PageContext
from authsvc.console.flash import Message, redirect
from authsvc.console.rendering import render
from authsvc.errors import InsufficientAuthorization, InvalidGrant, InvalidRequest, UsernameTaken, WeakPassword
from authsvc.flows import first_admin
from authsvc.flows import login as logins


async def first_page(ctx: PageContext) -> Response:
    """The form. Looking at it spends nothing: programs that look at links in advance must not use it up."""
    code = ctx.request.query_params.get("code", "")
    if not await first_admin.is_open(ctx.deps, code):
        return render(ctx, "admin/first_closed.html", 404)
    return _form(ctx, code)


async def make_first(ctx: PageContext) -> Response:
    code, username = ctx.form.get("code", ""), ctx.form.get("username", "")
    password, repeated = ctx.form.get("password", ""), ctx.form.get("repeated", "")
    if not hmac.compare_digest(password.encode(), repeated.encode()):
        return _form(ctx, code, 400, "The two passwords differ.", username)
    # Only an operator has seen the link.
    caller = replace(ctx.caller, actor="operator")
    try:
        await first_admin.accept(ctx.deps, caller, code, username=username, password=password)
    except InvalidGrant:
        return render(ctx, "admin/first_closed.html", 404)
    except (WeakPassword, InvalidRequest, UsernameTaken) as error:
        return _form(ctx, code, 400, str(error), username)
    client, service = await client_of(ctx), await ctx.deps.store.service.get()
    try:
        grant = await logins.login(
            ctx.deps, ctx.caller, client, service, username=username, password=password, cookie=True
        )
    except InsufficientAuthorization as more:  # the next step adds a second factor
        return to_step(ctx, more, "/")
    return await entered(ctx, grant, redirect(ctx, "/", Message(f"Welcome, {username}. You are the first admin.")))


def _form(ctx: PageContext, code: str, status: int = 200, fault: str | None = None, name: str = "") -> Response:
    least = ctx.deps.settings.password_min_length
    return render(ctx, "admin/first.html", status, code=code, fault=fault, username=name, least=least)
