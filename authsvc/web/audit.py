"""The route of the audit trail."""

from starlette.responses import Response

from authsvc.api.schemas import answers, requests
from authsvc.store import audit
from authsvc.web import callers
from authsvc.web.context import RequestContext
from authsvc.web.pages import cursor_of, page_of
from authsvc.web.reading import query


async def audit_trail(ctx: RequestContext) -> Response:
    page = query(ctx.request, requests.Page)
    await callers.admin_of(ctx)
    entries, following = await ctx.deps.store.audit.page(before=cursor_of(page, audit.is_cursor), limit=page.limit)
    return page_of((answers.AuditView.of(entry).model_dump(exclude_none=True) for entry in entries), following)
