"""`authsvc audit`: the audit trail."""

from collections.abc import Sequence
from typing import Any

from authsvc.cli.output import show_list
from authsvc.cli.state import run
from authsvc.flows.deps import Deps
from authsvc.store.audit import Entry
from authsvc.web import bodies

_COLUMNS = ("at", "event", "outcome", "actor", "sub", "session_id", "client_id", "reason", "ip", "details")
# Workers' clocks differ a little, so that the trail is not quite in the order of its times.
_SKEW_S = 60


def show_trail(*, limit: int, event: str | None, sub: str | None, since_s: int | None, as_json: bool) -> None:
    """Print events, newest first; `event` is one or the word before its dot."""

    def wanted(entry: Entry) -> bool:
        name = entry.event.event
        return (event is None or name == event or name.startswith(f"{event}.")) and sub in (None, entry.event.sub)

    async def work(deps: Deps) -> list[Entry]:
        oldest = 0.0 if since_s is None else deps.clock() - since_s
        found: list[Entry] = []
        async for entry in deps.store.audit.backwards():
            if len(found) == limit or entry.at < oldest - _SKEW_S:
                break
            if entry.at >= oldest and wanted(entry):
                found.append(entry)
        return found

    show_entries(run(work), as_json=as_json)


def show_entries(entries: Sequence[Entry], *, as_json: bool) -> None:
    show_list([view(entry) for entry in entries], _COLUMNS, as_json=as_json)


def view(entry: Entry) -> dict[str, Any]:
    return bodies.AuditView.of(entry).model_dump(exclude_none=True)
