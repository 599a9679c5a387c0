"""The audit trail: filters, the live view, and the export."""

import json
from urllib.parse import urlencode

from starlette.responses import Response

from authsvc.api.schemas import answers
from authsvc.console.admin.access import REFRESH, Admin
from authsvc.console.context import PageContext
from authsvc.console.flash import redirect
from authsvc.console.rendering import render
from authsvc.console.words import sentence
from authsvc.core.event import KINDS, Event
from authsvc.core.user import SUB
from authsvc.errors import InvalidRequest
from authsvc.flows import trail
from authsvc.store import audit

_PAGE = 50
# Of one export. More events than that are for `authsvc audit`, which has no limit.
_MOST_EXPORTED = 10_000
_EXPORT_PAGE = 1000
_ASKED = ("sub", "actor", "event", "client_id", "period")
PERIODS = {"hour": ("Last hour", 3600), "day": ("Last day", 86400), "week": ("Last 7 days", 7 * 86400)}
# The filters that take names.
_NAMED = ("sub", "actor", "client_id")


async def show_trail(ctx: PageContext, me: Admin) -> Response:
    """The events that are asked for. Names in the filters lead to the page with ids, which stay when names change."""
    query = _query(ctx)
    before = ctx.request.query_params.get("before") or None
    before = before if before and audit.is_cursor(before) else None
    asked, faults = _asked(ctx, query), list[str]()
    # Further pages have ids already. Finding names may take a walk over all keys.
    if before is None and REFRESH not in ctx.request.headers:
        try:
            asked, faults = await trail.resolved(ctx.deps, asked)
        except InvalidRequest as error:
            return await _page(ctx, query, trail.NOTHING, faults=[str(error)])
        if with_ids := {name: value for name in _NAMED if (value := getattr(asked, name)) != query.get(name)}:
            return redirect(ctx, _link("/audit", query | with_ids))
    found = await trail.page(ctx.deps, asked, before=before, limit=_PAGE)
    return await _page(ctx, query, found, before=before, faults=[] if found.entries else faults)


async def _page(
    ctx: PageContext, query: dict[str, str], found: trail.TrailPage, *, faults: list[str], before: str | None = None
) -> Response:
    return render(
        ctx,
        "admin/audit.html",
        found=found,
        query=query,
        typed=await _typed(ctx, query),
        events=tuple(Event),
        groups=KINDS,
        periods=PERIODS,
        live=before is None and not faults,
        faults=[sentence(one) for one in faults],
        filtered=bool(query),
        following=_link("/audit", query | {"before": found.next}) if found.next else None,
        first=_link("/audit", query) if before else None,
        export=_link("/audit/export", query),
        most=_MOST_EXPORTED,
    )


async def _typed(ctx: PageContext, query: dict[str, str]) -> dict[str, str]:
    """The values of the fields, with names of users. Several clients may have one name, so a client keeps its id."""
    sub, (kind, _, actor) = query.get("sub", ""), query.get("actor", "").partition(":")
    subs = [one for one in (sub, actor if kind == "user" else "") if SUB.fullmatch(one)]
    users = await ctx.deps.store.users.find_all(subs)
    known = {user.sub: user.username for user in users if user is not None and user.username is not None}
    shown = query | ({"sub": known[sub]} if sub in known else {})
    return shown | ({"actor": f"user {known[actor]}"} if kind == "user" and actor in known else {})


async def export_trail(ctx: PageContext, me: Admin) -> Response:
    """The events that are asked for as lines of JSON, newest first, in a file."""
    asked, lines, before = (await trail.resolved(ctx.deps, _asked(ctx, _query(ctx)))).asked, list[str](), None
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
