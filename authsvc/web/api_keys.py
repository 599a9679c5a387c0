"""Routes of keys: those of the calling user, and those of any user for admins."""

from starlette.responses import JSONResponse, Response

from authsvc.api.schemas import api_keys as schemas
from authsvc.api.schemas.requests import Deletion, Page
from authsvc.flows import api_keys
from authsvc.flows.api_keys import Issued
from authsvc.flows.step_up import require_recent
from authsvc.store.api_keys import is_cursor
from authsvc.web import callers
from authsvc.web.context import RequestContext
from authsvc.web.pages import cursor_of, page_of
from authsvc.web.reading import json_body, optional_json_body, query, refuse_query
from authsvc.web.users import sub_of


async def create_key(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    me = await _owner(ctx)
    body = await json_body(ctx.request, schemas.NewKey)
    return _issued(await api_keys.create(ctx.deps, me.caller, me.active, body.wanted()), status=201)


async def list_keys(ctx: RequestContext) -> Response:
    page = query(ctx.request, Page)
    me = await callers.user_of(ctx)
    return await _page(ctx, page, me.active.user.sub)


async def rotate_key(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    me = await _owner(ctx)
    body = await optional_json_body(ctx.request, schemas.KeyRotation) or schemas.KeyRotation()
    key_id = ctx.request.path_params["key_id"]
    return _issued(await api_keys.rotate(ctx.deps, me.caller, me.active, key_id, body.overlap_s), status=200)


async def revoke_key(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    me = await callers.user_of(ctx)
    await require_recent(ctx.deps, me.active)
    await api_keys.revoke(ctx.deps, me.caller, ctx.request.path_params["key_id"], sub=me.active.user.sub)
    return Response(status_code=204)


async def create_user_key(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    admin = await callers.admin_of(ctx)
    body = await json_body(ctx.request, schemas.NewUserKey)
    sub = sub_of(ctx.request)
    caller = admin.because(body)
    return _issued(await api_keys.create_for(ctx.deps, caller, sub, body.wanted(), body.client_id), status=201)


async def list_user_keys(ctx: RequestContext) -> Response:
    page = query(ctx.request, Page)
    await callers.admin_of(ctx)
    user = await ctx.deps.store.users.get(sub_of(ctx.request))
    return await _page(ctx, page, user.sub)


async def revoke_user_keys(ctx: RequestContext) -> Response:
    why = query(ctx.request, Deletion)
    by = await callers.admin_of(ctx)
    await api_keys.revoke_all(ctx.deps, by.because(why), sub_of(ctx.request))
    return Response(status_code=204)


async def _owner(ctx: RequestContext) -> callers.UserPrincipal:
    """The user, who has logged in a short time ago: a thief of a session must not make a key that outlives it."""
    me = await callers.user_of(ctx)
    await require_recent(ctx.deps, me.active, always=True)
    return me


async def _page(ctx: RequestContext, page: Page, sub: str) -> Response:
    found, following = await api_keys.page(ctx.deps, sub, cursor_of(page, is_cursor), page.limit)
    now = ctx.deps.clock()
    return page_of((schemas.KeyView.of(one.handle, one.session, now).model_dump() for one in found), following)


def _issued(issued: Issued, *, status: int) -> Response:
    return JSONResponse(schemas.NewKeyView.of(issued).model_dump(), status_code=status)
