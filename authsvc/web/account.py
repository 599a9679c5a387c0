"""Routes of a logged-in user: who am I, my sessions, my password."""

from starlette.responses import JSONResponse, Response

from authsvc.api.schemas import answers, requests
from authsvc.core.client import BUILT_IN
from authsvc.flows import password, revoke, sessions, step_up
from authsvc.web import callers, cookies
from authsvc.web.context import RequestContext
from authsvc.web.reading import json_body, query, refuse_query
from authsvc.web.tokens import granted


async def logout(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    tokens = cookies.session_tokens(ctx.request)
    if len(tokens) > 1 and "authorization" not in ctx.request.headers:
        return await _end_all_of_the_browser(ctx, tokens)
    # Any audience is enough: the holder of a token may always end its session.
    me = await callers.session_of(ctx)
    await sessions.logout(ctx.deps, me.caller, me.active)
    return _done(me, ended=True)


async def _end_all_of_the_browser(ctx: RequestContext, tokens: list[str]) -> Response:
    """Log out a browser with several session cookies. One was planted: without this its user could never log out."""
    cookies.refuse_cross_site(ctx.request, ctx.deps)
    for token in tokens:
        await revoke.revoke_token(ctx.deps, ctx.caller, None, token)
    response = Response(status_code=204)
    cookies.clear_all(response)
    return response


async def who_am_i(ctx: RequestContext) -> Response:
    active = (await callers.user_of(ctx)).active
    current = sessions.SessionStatus(active.handle, active.session)
    view = answers.MeView(
        sub=active.user.sub,
        username=active.user.username,
        roles=list(active.user.roles),
        claims=active.user.claims,
        scope=active.scope,
        session=answers.SessionView.of(current, active.handle, ctx.deps.clock()),
    )
    return JSONResponse(view.model_dump())


async def list_sessions(ctx: RequestContext) -> Response:
    active = (await callers.user_of(ctx)).active
    listed = await sessions.list_active(ctx.deps, active.user.sub)
    now = ctx.deps.clock()
    views = [answers.SessionView.of(one, active.handle, now) for one in listed]
    return JSONResponse({"items": [view.model_dump() for view in views], "next": None})


async def end_session(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    me = await callers.user_of(ctx)
    handle = ctx.request.path_params["session_id"]
    if handle != me.active.handle:
        await step_up.require_recent(ctx.deps, me.active)
    await sessions.end_one(ctx.deps, me.caller, me.active.user.sub, handle)
    return _done(me, ended=handle == me.active.handle)


async def end_sessions(ctx: RequestContext) -> Response:
    everywhere = query(ctx.request, requests.Which).all == "true"
    me = await callers.user_of(ctx)
    await step_up.require_recent(ctx.deps, me.active)
    await (sessions.end_all if everywhere else sessions.end_others)(ctx.deps, me.caller, me.active)
    return _done(me, ended=everywhere)


async def change_password(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    me = await callers.user_of(ctx)
    await step_up.require_recent(ctx.deps, me.active)
    body = await json_body(ctx.request, requests.PasswordChange)
    grant = await password.change_password(
        ctx.deps,
        me.caller,
        me.active,
        body.current_password,
        body.new_password,
        cookie=me.by_cookie,
        end_keys=body.end_keys,
    )
    return granted(grant, by_cookie=me.by_cookie, status=204 if me.by_cookie else 200)


async def reset_password(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    body = await json_body(ctx.request, requests.PasswordReset)
    caller = ctx.caller
    if body.ip is not None:  # the only reason to authenticate a client here: the code alone sets the password
        client, _ = await callers.login_client(ctx, None, BUILT_IN)
        caller = callers.origin_of_user(ctx, client, body.ip)
    await password.reset_password(ctx.deps, caller, body.reset_code, body.new_password)
    return Response(status_code=204)


def _done(me: callers.UserPrincipal, *, ended: bool) -> Response:
    """The answer 204; it clears the cookie if the session of the cookie has ended."""
    response = Response(status_code=204)
    if ended and me.by_cookie:
        cookies.clear_session(response)
    return response
