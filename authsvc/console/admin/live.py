"""The live sessions of all users, newest first, and of one client."""

from urllib.parse import urlencode

from starlette.responses import Response

from authsvc.console.admin.access import Admin
from authsvc.console.context import PageContext
from authsvc.console.rendering import render
from authsvc.flows import newest_sessions

_PAGE = 50
# Each choice: its words, and the seconds.
PERIODS = (("Any time", None), ("Last hour", 3600), ("Last day", 86400), ("Last 7 days", 7 * 86400))


async def list_sessions(ctx: PageContext, me: Admin) -> Response:
    asked = ctx.request.query_params
    client_id, period = asked.get("client_id") or None, asked.get("period", "")
    seconds = {str(value): value for _, value in PERIODS if value}.get(period)
    cursor = asked.get("cursor")
    cursor = cursor if cursor and newest_sessions.is_cursor(cursor) else None
    found = await newest_sessions.page(
        ctx.deps,
        client_id=client_id,
        since=ctx.deps.clock() - seconds if seconds else None,
        cursor=cursor,
        limit=_PAGE,
    )
    query = {"client_id": client_id or "", "period": period if seconds else ""}
    chosen = await ctx.deps.store.clients.find(client_id) if client_id and client_id.isascii() else None
    return render(
        ctx,
        "admin/sessions.html",
        found=found,
        client=chosen,
        client_id=client_id,
        chips=[(words, link(query | {"period": str(value or "")}), value == seconds) for words, value in PERIODS],
        following=link(query | {"cursor": found.next}) if found.next else None,
        first=link(query) if cursor else None,
        own=me.active.handle,
    )


def link(query: dict[str, str]) -> str:
    """The list of sessions that are asked for. Empty members are left out."""
    given = {name: value for name, value in query.items() if value}
    return f"/sessions?{urlencode(given)}" if given else "/sessions"
