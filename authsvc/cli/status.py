"""`authsvc status`: one screen about the service, its store, its sessions, its last events and what `check` finds."""

import json
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import click

from authsvc.checks.facts import Facts
from authsvc.checks.table import judge
from authsvc.cli.facts import gather
from authsvc.cli.finding import Names
from authsvc.cli.output import counted, say, show, show_list, span
from authsvc.cli.tables import TRAIL_COLUMNS
from authsvc.cli.trail import row, view
from authsvc.core.address import in_url
from authsvc.errors import StartupError, StoreUnavailable
from authsvc.flows import all_sessions
from authsvc.flows.all_sessions import Count
from authsvc.flows.deps import Deps
from authsvc.ops.data_dir import running_url
from authsvc.settings import Settings

_EVENTS = 5
_WAIT_S = 2.0
# The results of rows that need attention, the worst first.
_ATTENTION = ("fail", "warn", "unknown")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service answers at its address. why: None if it is ready."""

    address: str
    ready: bool
    why: str | None = None

    def __str__(self) -> str:
        return f"{'ready' if self.ready else 'not ready'} at {self.address}{f': {self.why}' if self.why else ''}"


@dataclass(slots=True)
class Seen:
    """What the store tells besides the facts of `check`. events: newest first, for people and for programs."""

    sessions: Count | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)


def show_status(*, as_json: bool, exact_times: bool) -> tuple[bool, bool]:
    """Print the screen.

    Returns whether the store could be asked, and whether the service is ready and no check failed.
    """
    seen = Seen()

    async def look(deps: Deps) -> None:
        if await deps.store.service.find() is None:
            return
        names = Names(deps)
        entries, _ = await deps.store.audit.page(limit=_EVENTS)
        seen.rows = [await row(entry, names) for entry in entries]
        seen.events = [view(entry) for entry in entries]
        try:
            seen.sessions = await all_sessions.count(deps)
        except StoreUnavailable:  # a damaged record must not hide the rest
            seen.sessions = None

    facts = gather(look)
    answer = ask(facts.settings)
    results = Counter(verdict.result for _, verdict in judge(facts))
    if as_json:
        click.echo(json.dumps(_document(answer, facts, seen, results)))
    else:
        show(_screen(answer, facts, seen, results), as_json=False)
        if seen.rows:
            click.echo()
            show_list(seen.rows, TRAIL_COLUMNS, as_json=False, exact_times=exact_times)
        todo = [check.name for check, verdict in judge(facts) if verdict.result == "fail"]
        if todo:
            say(f"failed: {', '.join(todo)}; `authsvc check` says what to do")
    return facts.problem is None, answer.ready and not results["fail"]


def ask(settings: Settings) -> Answer:
    """Ask the service of these settings whether it is ready."""
    address = f"http://{in_url(settings.local_host)}:{settings.port}"
    connection = HTTPConnection(settings.local_host, settings.port, timeout=_WAIT_S)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        told = json.loads(response.read(65536))
    except OSError as error:
        what = error.strerror or type(error).__name__
        return Answer(address, False, f"{what}; {_todo(settings)}")
    except (HTTPException, ValueError):
        return Answer(address, False, "something else answers there; AUTHSVC_HOST and AUTHSVC_PORT may be another's")
    finally:
        connection.close()
    if response.status == 200 and told == {"status": "ready"}:
        return Answer(address, True)
    why = told.get("error_description") if isinstance(told, dict) else None
    return Answer(address, False, str(why or f"it answers {response.status}"))


def _todo(settings: Settings) -> str:
    """The remedy if nobody answers at the address of the settings."""
    default = Settings()
    asked = "this is the default address; " if (settings.host, settings.port) == (default.host, default.port) else ""
    todo = "set AUTHSVC_HOST and AUTHSVC_PORT as the service has them"
    if settings.redis_url is None and _is_running(settings.data_dir):
        return f"{asked}a service runs on {settings.data_dir.resolve()} and is starting or listens elsewhere: {todo}"
    return f"{asked}start the service, or {todo}"


def _is_running(data_dir: Path) -> bool:
    try:
        return running_url(data_dir) is not None
    except StartupError:
        return False


def _screen(answer: Answer, facts: Facts, seen: Seen, results: Counter[Any]) -> dict[str, Any]:
    found = ", ".join(f"{results[name]} {name}" for name in _ATTENTION if results[name])
    return {
        "service": str(answer),
        "store": _problem(facts) or "; ".join([*(_servers(facts) or ["it answers"]), facts.where]),
        "sessions": None if facts.problem else _live(seen.sessions),
        "check": f"{found}: `authsvc check` shows them" if found else "all rows pass",
    }


def _problem(facts: Facts) -> str | None:
    return f"{facts.problem}. {facts.todo}." if facts.problem and facts.todo else facts.problem


def _live(count: Count | None) -> str:
    if count is None:
        return "not known, because a record is damaged"
    return counted(count.sessions, "live session", at_least=not count.whole)


def _servers(facts: Facts) -> list[str]:
    """Each primary: product, version, for how long it runs, and its memory."""
    told = []
    for found in facts.servers:
        server = found.server
        version, up_s = ".".join(map(str, server.version or ())), server.info.get("uptime_in_seconds")
        parts = [f"{server.product} {version}".strip()]
        parts += [f"up for {span(int(up_s))}"] if up_s else []
        if server.memory is not None:
            parts.append(f"full: {server.memory}" if server.is_full else f"{server.memory} of memory")
        told.append(", ".join(parts))
    return told


def _document(answer: Answer, facts: Facts, seen: Seen, results: Counter[Any]) -> dict[str, Any]:
    live = seen.sessions
    return {
        "service": {"address": answer.address, "ready": answer.ready, "why": answer.why},
        "store": {
            "where": facts.where,
            "answers": facts.problem is None,
            "why": facts.problem,
            "servers": _servers(facts),
        },
        "sessions": None if live is None else {"live": live.sessions, "complete": live.whole},
        "check": dict(results),
        "events": seen.events,
    }
