"""Routes of admins: the sessions of all users."""

from starlette.responses import Response

from authsvc.api.schemas import answers, requests
from authsvc.flows import newest_sessions, revoke
from authsvc.web import callers
from authsvc.web.context import RequestContext
from authsvc.web.pages import cursor_of, page_of
from authsvc.web.reading import query


async def list_newest_sessions(ctx: RequestContext) -> Response:
    page = query(ctx.request, requests.SessionPage)
    await callers.admin_of(ctx)
    cursor = cursor_of(page, newest_sessions.is_cursor)
    found = await newest_sessions.page(
        ctx.deps, client_id=page.client_id, since=page.since, cursor=cursor, limit=page.limit
    )
    views = [answers.UserSessionView.of_live(one, found.clients[one.session.client_id]) for one in found.sessions]
    live = found.live
    more = {} if live is None else {"count": {"sessions": live.sessions, "exact": live.whole}}
    return page_of((view.model_dump() for view in views), found.next, **more)


async def end_session_of_user(ctx: RequestContext) -> Response:
    why = query(ctx.request, requests.Deletion)
    by = await callers.admin_of(ctx)
    await revoke.end_by_admin(ctx.deps, by.because(why), ctx.request.path_params["session_id"])
    return Response(status_code=204)
