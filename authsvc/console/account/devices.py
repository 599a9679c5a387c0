"""The sessions of the user: a list of devices, and ending one or all others."""

from starlette.responses import Response

from authsvc.api.schemas.answers import SessionView
from authsvc.console.account.destination import HOME
from authsvc.console.account.frame import LOGIN, confirm, go, me_of, recent_me_of, show, texts
from authsvc.console.context import PageContext
from authsvc.console.words import device_of, visible
from authsvc.errors import NotFound
from authsvc.flows import sessions, step_up
from authsvc.web import cookies
from authsvc.web.callers import UserPrincipal


async def devices(ctx: PageContext) -> Response:
    """All devices, this one first."""
    me = await me_of(ctx)
    return show(ctx, "devices.html", here="devices", me=me.active.user, devices=await _views(ctx, me))


async def end_form(ctx: PageContext) -> Response:
    """Ask before a session ends. A step leads back here, so the login is recent enough."""
    me = await me_of(ctx)
    await _require_recent(ctx, me)
    t, view = texts(ctx), await _view(ctx, me)
    return confirm(
        ctx,
        me,
        here="devices",
        back=HOME,
        title=t("devices.confirm"),
        lines=[t("devices.confirm_text", device=name_of(ctx, view))],
        submit=t("devices.end"),
    )


async def end(ctx: PageContext) -> Response:
    """End one session."""
    me = await me_of(ctx)
    await _require_recent(ctx, me)
    try:
        view = await _view(ctx, me)
        await sessions.end_one(ctx.deps, me.caller, me.active.user.sub, view.session_id)
    except NotFound:
        return go(ctx, HOME, "devices.gone")
    if view.current:
        response = go(ctx, LOGIN, "login.logged_out")
        cookies.clear_session(response)
        return response
    return go(ctx, HOME, "devices.ended", device=name_of(ctx, view))


async def end_others_form(ctx: PageContext) -> Response:
    """Ask before all other sessions end."""
    me = await recent_me_of(ctx)
    t, count = texts(ctx), len(await _views(ctx, me)) - 1
    return confirm(
        ctx,
        me,
        here="devices",
        back=HOME,
        title=t("devices.confirm_others"),
        lines=[t("devices.confirm_others_text", count=count)],
        submit=t("devices.end_others"),
    )


async def end_others(ctx: PageContext) -> Response:
    """End all other sessions, in one write."""
    me = await recent_me_of(ctx)
    count = len(await _views(ctx, me)) - 1
    await sessions.end_others(ctx.deps, me.caller, me.active)
    return go(ctx, HOME, "devices.ended_others", count=count)


def name_of(ctx: PageContext, view: SessionView) -> str:
    """The device as its app named it, or the browser in words."""
    if view.device:
        return visible(view.device)
    return visible(device_of(view.user_agent)) if view.user_agent else texts(ctx)("devices.unknown")


async def _views(ctx: PageContext, me: UserPrincipal) -> list[SessionView]:
    listed = await sessions.list_active(ctx.deps, me.active.user.sub)
    now = ctx.deps.clock()
    views = [SessionView.of(one, me.active.handle, now) for one in listed]
    return sorted(views, key=lambda view: (not view.current, -view.last_seen))


async def _view(ctx: PageContext, me: UserPrincipal) -> SessionView:
    """The session in the path. Raises NotFound."""
    handle = ctx.request.path_params["session_id"]
    for view in await _views(ctx, me):
        if view.session_id == handle:
            return view
    raise NotFound("no such session")


async def _require_recent(ctx: PageContext, me: UserPrincipal) -> None:
    """A user may always end the session of this very browser."""
    if ctx.request.path_params["session_id"] != me.active.handle:
        await step_up.require_recent(ctx.deps, me.active)
