"""`authsvc audit`: the audit trail, once or as it grows."""

import asyncio
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from authsvc.api.schemas import answers
from authsvc.cli.clients import find as find_client
from authsvc.cli.output import ago, cell, coloured, listing, printable, say, show_list
from authsvc.cli.state import attached, run
from authsvc.cli.users import find as find_user
from authsvc.errors import NotFound, StartupError, StoreUnavailable
from authsvc.flows.deps import Deps
from authsvc.store.audit import StoredEntry

_COLUMNS = ("at", "event", "outcome", "actor", "sub", "session_id", "client_id", "reason", "ip", "details")
# The clocks of workers differ a little, so the trail is not exactly in the order of its times.
_SKEW_S = 60
# How often --follow looks at the trail, and how long it pauses when the store does not answer.
_LOOK_S, _AGAIN_S = 0.5, 1.0

Wanted = Callable[[StoredEntry], bool]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries are asked for. `event` is one or the word before its dot. sub, client: also by name."""

    event: str | None = None
    sub: str | None = None
    client: str | None = None

    async def resolved(self, deps: Deps) -> "Filter":
        """The same filter with ids in the place of names. Raises NotFound, and InvalidRequest if several fit.

        A user or a client may be deleted. Its id is enough then, if the trail has an event about it.
        """
        sub, client = self.sub, self.client
        if sub is not None:
            user = await _unless_gone(find_user(deps, sub), deps, Filter(sub=sub))
            sub = sub if user is None else user.sub
        if client is not None:
            found = await _unless_gone(find_client(deps, client), deps, Filter(client=client))
            client = client if found is None else found.client_id
        return Filter(self.event, sub, client)

    def __call__(self, stored: StoredEntry) -> bool:
        found = stored.entry
        return (
            (self.event is None or found.event == self.event or found.event.startswith(f"{self.event}."))
            and self.sub in (None, found.sub)
            and self.client in (None, found.client_id)
        )


async def _unless_gone(finding: Awaitable[T], deps: Deps, by_id: Filter) -> T | None:
    """What is found. None: nothing, but the trail has an event about this id. Raises NotFound otherwise."""
    try:
        return await finding
    except NotFound:
        async for entry in deps.store.audit.backwards():
            if by_id(entry):
                return None
        raise


def show_trail(test: Filter, *, limit: int, since_s: int | None, as_json: bool) -> None:
    """Print events, newest first: JSON or a table, or paragraphs for people if stdout is a terminal."""
    for_people = sys.stdout.isatty() and not as_json
    with nullcontext(None) if for_people else listing(_COLUMNS, as_json=as_json) as show:

        async def work(deps: Deps) -> bool:
            names = Names(deps)
            found = False
            wanted = _since(deps, await test.resolved(deps), since_s)
            async for entry in _latest(deps, wanted, limit=limit, since_s=since_s):
                found = True
                if show is None:
                    click.echo(_paragraph(entry, await names.of(entry)))
                else:
                    show(view(entry))
            return found

        found = run(work)
    if not found and not as_json:
        say("no such events")


class Names:
    """The names of the users in entries of the trail. Each user is read once."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._known: dict[str, str] = {}
        self._asked: set[str] = set()

    async def of(self, stored: StoredEntry) -> Mapping[str, str]:
        """The names by their sub, with at least those of this entry."""
        for sub in {stored.entry.sub, stored.entry.actor.removeprefix("user:")} - self._asked:
            if sub is not None and (user := await self._deps.store.users.find(sub)) is not None and user.username:
                self._known[sub] = user.username
            self._asked.add(sub or "")
        return self._known


def follow_trail(test: Filter, *, limit: int, since_s: int | None, as_json: bool) -> None:
    """Print the latest events, oldest first, and then each new event, until interrupted.

    After the first answer, this waits for a store that is gone. Events that the store lost meanwhile are missing.
    """
    start: str | None = None
    shown: Wanted = test
    complained = False

    def show(entry: StoredEntry) -> None:
        if as_json:
            click.echo(json.dumps(view(entry)))
        else:
            click.echo(_line(entry))

    async def work(deps: Deps) -> None:
        nonlocal start, shown, complained
        if start is None:
            shown = _since(deps, await test.resolved(deps), since_s)
            newest, _ = await deps.store.audit.page(limit=1)
            start = f"({newest[0].id}" if newest else "-"
            async for entry in _latest(deps, shown, limit=limit, since_s=since_s):
                start = entry.id
        while True:
            async for entry in deps.store.audit.forwards(start):
                start = f"({entry.id}"
                if shown(entry):
                    show(entry)
            if complained:
                say("the store answers again")
                complained = False
            await asyncio.sleep(_LOOK_S)

    while True:
        try:
            attached(work)
        except (StoreUnavailable, StartupError):
            if start is None:
                raise
            if not complained:
                say("the store does not answer: waiting for it")
                complained = True
            time.sleep(_AGAIN_S)


def _since(deps: Deps, test: Wanted, since_s: int | None) -> Wanted:
    """The same test, for entries that are not older than this."""
    oldest = 0.0 if since_s is None else deps.clock() - since_s
    return lambda entry: entry.at >= oldest and test(entry)


async def _latest(deps: Deps, test: Wanted, *, limit: int, since_s: int | None) -> AsyncIterator[StoredEntry]:
    """The newest entries that are asked for, newest first."""
    oldest = 0.0 if since_s is None else deps.clock() - since_s
    left = limit
    async for entry in deps.store.audit.backwards():
        if entry.at < oldest - _SKEW_S:
            return
        if test(entry):
            yield entry
            left -= 1
            if left == 0:
                return


def _line(entry: StoredEntry) -> str:
    """An event as one line: when, what, and then all other fields."""
    document = view(entry)
    at, event, outcome = (document.pop(name) for name in ("at", "event", "outcome"))
    document.pop("id", None)
    if outcome != "success":
        document = {"outcome": outcome} | document
    details = document.pop("details", None) or {}
    rest = " ".join(f"{name}={cell(name, value)}" for name, value in (document | details).items())
    text = printable(f"{cell('at', at)}  {event:<24} {rest}")
    if outcome == "success":
        return text
    return click.style(text, fg="yellow") if coloured() else text


def show_entries(entries: Sequence[StoredEntry], *, as_json: bool) -> None:
    show_list([view(entry) for entry in entries], _COLUMNS, as_json=as_json)


def _paragraph(entry: StoredEntry, names: Mapping[str, str]) -> str:
    text = paragraph(view(entry), names, now=time.time(), width=shutil.get_terminal_size().columns)
    return click.style(text, fg="yellow") if entry.entry.outcome != "success" and coloured() else text


def paragraph(document: dict[str, Any], names: Mapping[str, str], *, now: float, width: int) -> str:
    """An event for people: how long ago, what, and then `name=value`, with line breaks between words only."""
    document = {name: value for name, value in document.items() if name not in ("id", "request_id")}
    at, event, outcome = (document.pop(name) for name in ("at", "event", "outcome"))
    details = document.pop("details", None) or {}
    told = ({} if outcome == "success" else {"outcome": outcome}) | document | details
    pairs = [printable(f"{name}={_named(cell(name, value), names)}") for name, value in told.items()]
    lines = [f"{ago(at, now):<12}"]
    for word in [f"{event:<22}", *pairs]:
        if len(lines[-1]) + 2 + len(word) > width and lines[-1].strip():
            lines.append(" " * 4)
        lines[-1] += f"  {word}"
    return "\n".join(line.rstrip() for line in lines)


def _named(value: str, names: Mapping[str, str]) -> str:
    """A sub, or the actor of this sub, with the name beside it."""
    name = names.get(value.removeprefix("user:"))
    return value if name is None else f"{value} ({name})"


def view(entry: StoredEntry) -> dict[str, Any]:
    return answers.AuditView.of(entry).model_dump(exclude_none=True)
