"""The route of the audit trail."""

from starlette.responses import Response

from authsvc.api.schemas import answers, requests
from authsvc.flows import trail
from authsvc.store import audit
from authsvc.web import callers
from authsvc.web.context import RequestContext
from authsvc.web.pages import cursor_of, page_of
from authsvc.web.reading import query


async def audit_trail(ctx: RequestContext) -> Response:
    page = query(ctx.request, requests.AuditPage)
    await callers.admin_of(ctx)
    asked = trail.Asked(page.sub, page.actor, page.event, page.client_id, page.since, page.until)
    found = await trail.page(ctx.deps, asked, before=cursor_of(page, audit.is_cursor), limit=page.limit)
    views = (answers.AuditView.named(entry, found.names).model_dump(exclude_none=True) for entry in found.entries)
    return page_of(views, found.next, searched_to=found.searched_to)
