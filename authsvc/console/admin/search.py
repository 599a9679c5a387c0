"""The search box of every page: a token, a session, a client, a user, or the beginning of a name."""

from urllib.parse import urlencode

from starlette.responses import Response

from authsvc.console.admin.access import Admin
from authsvc.console.admin.token import explained
from authsvc.console.admin.users import path_of
from authsvc.console.context import PageContext
from authsvc.console.flash import redirect
from authsvc.core import token as tokens
from authsvc.core.client import CLIENT_ID
from authsvc.core.user import SUB
from authsvc.flows import users


async def search(ctx: PageContext, me: Admin) -> Response:
    """Go to what was typed. The box is a form with POST, because people paste tokens into it."""
    typed = ctx.form.get("q", "").strip(" \r\n\t")
    if tokens.PREFIX.match(typed):
        return await explained(ctx, typed)
    return redirect(ctx, await _place_of(ctx, me, typed))


async def _place_of(ctx: PageContext, me: Admin, typed: str) -> str:
    store = ctx.deps.store
    if CLIENT_ID.fullmatch(typed) and await store.clients.find(typed) is not None:
        return f"/clients/{typed}"
    if tokens.is_handle(typed) and await store.sessions.find(typed) is not None:
        return f"/token?session={typed}"
    if SUB.fullmatch(typed) and await store.users.find(typed) is not None:
        return path_of(typed)
    named = await users.find_by_name(ctx.deps, me.caller, typed)
    if named is not None:
        return path_of(named.sub)
    return f"/users?{urlencode({'q': typed})}" if typed else "/users"
