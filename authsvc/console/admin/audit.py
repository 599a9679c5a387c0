"""The audit trail: filters, the live view, and the export."""

import json
from urllib.parse import urlencode

from starlette.responses import Response

from authsvc.api.schemas import answers
from authsvc.console.admin.access import Admin
from authsvc.console.context import PageContext
from authsvc.console.rendering import render
from authsvc.core.event import Event
from authsvc.flows import trail
from authsvc.store import audit

_PAGE = 50
# Of one export. More events than that are for `authsvc audit`, which has no limit.
_MOST_EXPORTED = 10_000
_EXPORT_PAGE = 1000
_ASKED = ("sub", "actor", "event", "client_id", "period")
PERIODS = {"hour": ("Last hour", 3600), "day": ("Last day", 86400), "week": ("Last 7 days", 7 * 86400)}
# The first words of events, which name the thing.
GROUPS = tuple(sorted({event.partition(".")[0] for event in Event}))


async def show_trail(ctx: PageContext, me: Admin) -> Response:
    query = _query(ctx)
    before = ctx.request.query_params.get("before") or None
    before = before if before and audit.is_cursor(before) else None
    found = await trail.page(ctx.deps, _asked(ctx, query), before=before, limit=_PAGE)
    return render(
        ctx,
        "admin/audit.html",
        found=found,
        query=query,
        events=tuple(Event),
        groups=GROUPS,
        periods=PERIODS,
        live=before is None,
        filtered=bool(query),
        following=_link("/audit", query | {"before": found.next}) if found.next else None,
        first=_link("/audit", query) if before else None,
        export=_link("/audit/export", query),
        most=_MOST_EXPORTED,
    )


async def export_trail(ctx: PageContext, me: Admin) -> Response:
    """The events that are asked for as lines of JSON, newest first, in a file."""
    asked, lines, before = _asked(ctx, _query(ctx)), list[str](), None
    while len(lines) < _MOST_EXPORTED:
        found = await trail.page(ctx.deps, asked, before=before, limit=_EXPORT_PAGE)
        lines += [json.dumps(answers.AuditView.of(one).model_dump(exclude_none=True)) for one in found.entries]
        before = found.next
        if before is None:
            break
    body = "".join(f"{line}\n" for line in lines[:_MOST_EXPORTED])
    disposition = {"Content-Disposition": 'attachment; filename="audit.ndjson"'}
    return Response(body, media_type="application/x-ndjson", headers=disposition)


def _query(ctx: PageContext) -> dict[str, str]:
    found = ctx.request.query_params
    return {name: value for name in _ASKED if (value := found.get(name, "").strip(" "))}


def _asked(ctx: PageContext, query: dict[str, str]) -> trail.Asked:
    period = PERIODS.get(query.get("period", ""))
    return trail.Asked(
        sub=query.get("sub"),
        actor=query.get("actor"),
        event=query.get("event"),
        client_id=query.get("client_id"),
        since=ctx.deps.clock() - period[1] if period else None,
    )


def _link(path: str, query: dict[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path
