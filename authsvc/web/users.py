"""Routes of admins: users and their sessions."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authsvc.api.schemas import answers, requests
from authsvc.core.user import User, check_sub
from authsvc.errors import InvalidRequest, NotFound
from authsvc.flows import directory, password, revoke, sessions, users
from authsvc.flows.deps import Caller, Deps
from authsvc.store import listing
from authsvc.web import callers
from authsvc.web.context import RequestContext
from authsvc.web.pages import cursor_of, page_of
from authsvc.web.reading import json_body, optional_json_body, query, refuse_query


async def create_user(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    admin = await callers.admin_of(ctx)
    body = await json_body(ctx.request, requests.NewUser)
    user, code = await users.create(
        ctx.deps,
        admin.because(body),
        username=body.username,
        password=body.password,
        roles=tuple(body.roles),
        claims=body.claims,
        code_life_s=body.expires_in,
    )
    life_s = body.expires_in or ctx.deps.settings.reset_code_ttl_s
    view = answers.UserView.of(user).model_dump()
    view |= {} if code is None else {"reset_code": code, "expires_in": life_s}
    return JSONResponse(view, status_code=201)


async def list_users(ctx: RequestContext) -> Response:
    page = query(ctx.request, requests.UserPage)
    if page.username is not None:
        return await _user_of_name(ctx, page, page.username)
    if "username" in ctx.request.query_params:  # a form has no empty fields, and all users would be listed
        raise InvalidRequest("username: must not be empty")
    await callers.admin_of(ctx)
    asked = directory.Asked(
        q=page.q,
        status=page.status,
        role=page.role,
        locked=page.locked == "true",
        without_factor=page.factor == "none",
    )
    if asked == directory.Asked():  # every user, also while the index is filled
        found, following = await ctx.deps.store.listing.users(cursor_of(page, listing.is_cursor), page.limit)
        return page_of(_states(await directory.states(ctx.deps, found)), following)
    listed = await directory.page(ctx.deps, asked, cursor=cursor_of(page, directory.is_cursor), limit=page.limit)
    return page_of(_states(listed.users), listed.next, complete=listed.complete)


def _states(states: Iterable[directory.UserState]) -> Iterable[dict[str, Any]]:
    return (answers.UserStateView.of_state(one).model_dump() for one in states)


async def _user_of_name(ctx: RequestContext, page: requests.UserPage, username: str) -> Response:
    # A help desk knows the name, and the call for a reset code takes the sub.
    by = await callers.admin_of(ctx, "reset")
    if page.cursor is not None:
        raise InvalidRequest("cursor: not with username, which finds one user at most")
    user = await users.find_by_name(ctx.deps, by.caller, username)
    return page_of([] if user is None else _states([await directory.state(ctx.deps, user)]))


async def get_user(ctx: RequestContext) -> Response:
    await callers.admin_of(ctx)
    user = await ctx.deps.store.users.get(sub_of(ctx.request))
    return JSONResponse(answers.UserStateView.of_state(await directory.state(ctx.deps, user)).model_dump())


async def change_user(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    admin = await callers.admin_of(ctx)
    body = await json_body(ctx.request, requests.UserChange)
    user = await users.update(ctx.deps, admin.because(body), sub_of(ctx.request), **body.given())
    return JSONResponse(answers.UserView.of(user).model_dump())


async def suspend_user(ctx: RequestContext) -> Response:
    return await _acted(ctx, users.suspend)


async def reinstate_user(ctx: RequestContext) -> Response:
    return await _acted(ctx, users.reinstate)


async def unlock_user(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    by = await callers.admin_of(ctx)
    body = await optional_json_body(ctx.request, requests.UserAct)
    user = await users.unlock(ctx.deps, by.because(body), sub_of(ctx.request))
    return JSONResponse(answers.UserStateView.of_state(await directory.state(ctx.deps, user)).model_dump())


async def _acted(ctx: RequestContext, act: Callable[[Deps, Caller, str], Awaitable[User]]) -> Response:
    refuse_query(ctx.request)
    by = await callers.admin_of(ctx)
    body = await optional_json_body(ctx.request, requests.UserAct)
    user = await act(ctx.deps, by.because(body), sub_of(ctx.request))
    return JSONResponse(answers.UserView.of(user).model_dump())


async def delete_user(ctx: RequestContext) -> Response:
    why = query(ctx.request, requests.Deletion)
    admin = await callers.admin_of(ctx)
    await users.delete(ctx.deps, admin.because(why), sub_of(ctx.request))
    return Response(status_code=204)


async def list_user_sessions(ctx: RequestContext) -> Response:
    await callers.admin_of(ctx)
    user = await ctx.deps.store.users.get(sub_of(ctx.request))
    listed = await sessions.list_active(ctx.deps, user.sub)
    return page_of(answers.SessionView.of(one).model_dump() for one in listed)


async def end_user_sessions(ctx: RequestContext) -> Response:
    why = query(ctx.request, requests.Deletion)
    by = await callers.admin_of(ctx)
    await revoke.revoke_user(ctx.deps, by.because(why), sub_of(ctx.request))
    return Response(status_code=204)


async def create_reset_code(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    by = await callers.admin_of(ctx, "reset")
    body = await optional_json_body(ctx.request, requests.ResetCodeRequest)
    wanted_s = None if body is None else body.expires_in
    caller = by.because(body)
    user = await users.get_for_reset(ctx.deps, caller, sub_of(ctx.request))
    code, life_s = await password.new_reset_code(ctx.deps, caller, user.sub, life_s=wanted_s)
    return JSONResponse({"reset_code": code, "expires_in": life_s}, status_code=201)


def sub_of(request: Request) -> str:
    """The subject in the path, decoded. Raises NotFound for text that no subject can be: it would name other keys."""
    segment: str = request.path_params["sub"]
    try:
        if "/" in segment:  # as %2F only, or `a/reset-code` could mean two things
            raise NotFound("no such user")
        return check_sub(unquote(segment, errors="strict"))
    except (InvalidRequest, UnicodeDecodeError):
        raise NotFound("no such user") from None
