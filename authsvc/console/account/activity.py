"""Recent events of the account: the user's own part of the audit trail."""

from starlette.responses import Response

from authsvc.console.account.frame import me_of, show, texts
from authsvc.console.context import PageContext
from authsvc.flows import activity as flow
from authsvc.store.audit import StoredEntry, is_cursor

PER_PAGE = 25
_BY = {"user": "activity.by_admin", "operator": "activity.by_admin", "client": "activity.by_app"}


async def activity(ctx: PageContext) -> Response:
    """A page of events, newest first."""
    me = await me_of(ctx)
    before = ctx.request.query_params.get("before")
    t = texts(ctx)
    known = frozenset(name.removeprefix("event.") for name in t.by_name if name.startswith("event."))
    found, older = await flow.of_user(
        ctx.deps, me.active.user.sub, known, before=before if before and is_cursor(before) else None, limit=PER_PAGE
    )
    return show(
        ctx,
        "activity.html",
        here="activity",
        me=me.active.user,
        events=[_view(stored) for stored in found],
        older=older,
        first=before is None,
    )


def _view(stored: StoredEntry) -> dict[str, object]:
    """An event as the page shows it. by: the text for somebody else who did it, whose address is hidden."""
    entry = stored.entry
    by = None
    if entry.actor not in (f"user:{entry.sub}", "anonymous", "service"):
        # Only admins change the accounts of others.
        kind = entry.actor.partition(":")[0]
        by = _BY.get(kind, "activity.by_other")
    return {
        "at": stored.at,
        "name": entry.event,
        "by": by,
        "ip": None if by else entry.ip,
        "user_agent": None if by else entry.user_agent,
    }
