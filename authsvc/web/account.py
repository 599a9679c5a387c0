"""Routes of a logged-in user: who am I, my sessions, my password."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authsvc.api import schemas as bodies
from authsvc.api.parsing import json_body, query, refuse_query
from authsvc.flows import password, sessions
from authsvc.flows.deps import Deps
from authsvc.web import callers, cookies
from authsvc.web.tokens import granted


async def logout(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    me = await callers.user_of(deps, request)
    await sessions.logout(deps, me.caller, me.active)
    return _done(me, ended=True)


async def who_am_i(deps: Deps, request: Request) -> Response:
    active = (await callers.user_of(deps, request)).active
    current = sessions.SessionStatus(active.handle, active.session)
    view = bodies.MeView(
        sub=active.user.sub,
        username=active.user.username,
        roles=list(active.user.roles),
        claims=active.user.claims,
        scope=active.scope,
        session=bodies.SessionView.of(current, active.handle),
    )
    return JSONResponse(view.model_dump())


async def list_sessions(deps: Deps, request: Request) -> Response:
    me = await callers.user_of(deps, request)
    listed = await sessions.list_active(deps, me.active.user.sub)
    return JSONResponse(
        {"items": [bodies.SessionView.of(one, me.active.handle).model_dump() for one in listed], "next": None}
    )


async def end_session(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    me = await callers.user_of(deps, request)
    handle = request.path_params["session_id"]
    await sessions.end_one(deps, me.caller, me.active.user.sub, handle)
    return _done(me, ended=handle == me.active.handle)


async def end_sessions(deps: Deps, request: Request) -> Response:
    which = query(request, bodies.Which)
    me = await callers.user_of(deps, request)
    everywhere = which.all == "true"
    await (sessions.end_all if everywhere else sessions.end_others)(deps, me.caller, me.active)
    return _done(me, ended=everywhere)


async def change_password(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    me = await callers.user_of(deps, request)
    body = await json_body(request, bodies.PasswordChange)
    grant = await password.change_password(
        deps, me.caller, me.active, body.current_password, body.new_password, cookie=me.by_cookie
    )
    return granted(grant, by_cookie=me.by_cookie, status=204 if me.by_cookie else 200)


async def reset_password(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    body = await json_body(request, bodies.PasswordReset)
    await password.reset_password(deps, callers.source(request), body.reset_code, body.new_password)
    return Response(status_code=204)


def _done(me: callers.Me, *, ended: bool) -> Response:
    response = Response(status_code=204)
    if ended and me.by_cookie:
        cookies.clear_session(response)
    return response
