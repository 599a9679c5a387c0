"""The first page: what is going on, and what needs attention."""

from collections import Counter
from typing import Any

from starlette.responses import Response

from authsvc import __version__
from authsvc.checks import Check, Verdict
from authsvc.checks.facts import at_once
from authsvc.checks.table import AT_ONCE, judge
from authsvc.console.admin import chart
from authsvc.console.admin.access import Admin
from authsvc.console.admin.words_of_events import REFUSALS, refuses
from authsvc.console.context import PageContext
from authsvc.console.rendering import render
from authsvc.core.event import Event
from authsvc.errors import StoreUnavailable
from authsvc.flows import directory, newest_sessions, trail
from authsvc.flows.deps import Deps
from authsvc.flows.ready import faults
from authsvc.store.audit import StoredEntry

_HOURS = 24
_HOUR_S = 3600
# How much of the trail the numbers are made from. A busy service writes that in less than a day, and the page says so.
_MOST_EVENTS = 2000
_SHOWN_EVENTS = 8
_SHOWN_USERS = 5
_SHOWN_RESULTS = ("fail", "warn")


async def overview(ctx: PageContext, me: Admin) -> Response:
    deps, now = ctx.deps, ctx.deps.clock()
    live = await newest_sessions.page(deps, limit=1)
    locked = await directory.page(deps, directory.Asked(locked=True), limit=_SHOWN_USERS)
    recent = await trail.page(deps, trail.Asked(), limit=_SHOWN_EVENTS)
    entries, whole = await _last_day(deps, now)
    refusals = Counter(REFUSALS[one.entry.event] for one in entries if refuses(one.entry.event, one.entry.outcome))
    hours = _by_hour(entries, now)
    return render(
        ctx,
        "admin/overview.html",
        live=live.live,
        logins=sum(one.good for one in hours),
        refused=sum(refusals.values()),
        refusals=refusals.most_common(6),
        bars=chart.bars(hours),
        counted_from=None if whole or not entries else entries[-1].at,
        most_events=_MOST_EVENTS,
        locked=locked,
        recent=recent,
        health=await _health(deps),
        findings=await _findings(deps),
        version=__version__,
    )


async def _last_day(deps: Deps, now: float) -> tuple[list[StoredEntry], bool]:
    """The events of the last day, newest first, and whether they are all."""
    entries: list[StoredEntry] = []
    async for stored in deps.store.audit.backwards():
        if stored.at < now - _HOURS * _HOUR_S:
            return entries, True
        entries.append(stored)
        if len(entries) == _MOST_EVENTS:
            return entries, False
    return entries, True


def _by_hour(entries: list[StoredEntry], now: float) -> list[chart.Count]:
    """Logins and refusals of each of the last 24 hours, the oldest first."""
    good, bad = Counter[int](), Counter[int]()
    for stored in entries:
        hours_ago = max(int((now - stored.at) // _HOUR_S), 0)
        good[hours_ago] += stored.entry.event == Event.LOGIN_SUCCEEDED
        bad[hours_ago] += refuses(stored.entry.event, stored.entry.outcome)
    return [
        chart.Count(f"{_when(hours)}: {good[hours]} logins, {bad[hours]} refusals", good[hours], bad[hours])
        for hours in reversed(range(_HOURS))
    ]


def _when(hours: int) -> str:
    return "the last hour" if hours == 0 else f"{hours} to {hours + 1} hours ago"


async def _findings(deps: Deps) -> list[tuple[Check, Verdict]]:
    """The checks of settings and store that failed or warn, the failed ones first."""
    found = [row for row in judge(await at_once(deps), AT_ONCE) if row[1].result in _SHOWN_RESULTS]
    return sorted(found, key=lambda row: _SHOWN_RESULTS.index(row[1].result))


async def _health(deps: Deps) -> dict[str, Any]:
    """The store by its own account, and what makes it unfit, each with its remedy."""
    try:
        found = [fault.text for fault in await faults(deps)]
        servers = [
            {
                "what": " ".join(
                    [one.product.capitalize(), *([".".join(map(str, one.version))] if one.version else [])]
                ),
                "memory": one.info.get("used_memory_human"),
                "days": one.info.get("uptime_in_days"),
            }
            for one in await deps.fitness.servers()
        ]
    except StoreUnavailable as error:
        found, servers = [str(error) or "the store does not answer"], []
    metrics = deps.metrics
    return {
        "faults": found,
        "servers": servers,
        "workers": deps.settings.workers,
        "unwritten": metrics.audit_unwritten.value(),
        "breakers": metrics.breakers_open.value(),
    }
