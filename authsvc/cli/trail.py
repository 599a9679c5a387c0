"""`authsvc audit`: the audit trail, once or as it grows."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import click

from authsvc.api.schemas import answers
from authsvc.cli.finding import Names, find_client, find_user
from authsvc.cli.layout import IDS, flowing
from authsvc.cli.output import cell, coloured, listing, printable, say, width
from authsvc.cli.state import attached, run
from authsvc.cli.tables import TRAIL_COLUMNS
from authsvc.errors import NotFound, StartupError, StoreUnavailable
from authsvc.flows.deps import Deps
from authsvc.store.audit import StoredEntry

# The clocks of workers differ a little, so the trail is not exactly in the order of its times.
_SKEW_S = 60
# Details for programs, which --json shows.
_NUMBERS = frozenset({"end", "idle_s", "epoch"})
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


def show_trail(test: Filter, *, limit: int, since_s: int | None, as_json: bool, exact_times: bool) -> None:
    """Print events, newest first."""
    with listing(TRAIL_COLUMNS, as_json=as_json, exact_times=exact_times) as show:

        async def work(deps: Deps) -> bool:
            names, found = Names(deps), False
            wanted = _since(deps, await test.resolved(deps), since_s)
            async for entry in _latest(deps, wanted, limit=limit, since_s=since_s):
                found = True
                show(view(entry) if as_json else await row(entry, names))
            return found

        found = run(work)
    if not found and not as_json:
        say("no such events")


def follow_trail(test: Filter, *, limit: int, since_s: int | None, as_json: bool, exact_times: bool) -> None:
    """Print the latest events, oldest first, and then each new event, until interrupted.

    After the first answer, this waits for a store that is gone. Events that the store lost meanwhile are missing.
    """
    start: str | None = None
    shown: Wanted = test
    complained = False

    as_text = partial(_flowing, exact_times=exact_times) if sys.stdout.isatty() else _line

    async def show(entry: StoredEntry, names: Names) -> None:
        click.echo(json.dumps(view(entry)) if as_json else as_text(await row(entry, names)))

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
                    # A name may change while the trail is followed, so it is read again.
                    await show(entry, Names(deps))
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


async def row(entry: StoredEntry, names: Names) -> dict[str, Any]:
    """An event for people, with names beside ids. Of the outcome it tells what is no success."""
    told = await names.beside(view(entry))
    told["actor"] = await names.actor(entry.entry.actor)
    if entry.entry.outcome == "success":
        del told["outcome"]
    told["details"] = details_for_people(entry.entry.details or {})
    return told


def details_for_people(details: Mapping[str, Any]) -> str:
    """The details of an event, without those for programs."""
    return " ".join(f"{name}={cell(name, value)}" for name, value in details.items() if name not in _NUMBERS)


def _line(document: Mapping[str, Any]) -> str:
    """An event as one line for another program: when, what, and then all other fields."""
    return printable(f"{cell('at', document['at'])}  {document['event']:<24} {' '.join(_pairs(document))}")


def _flowing(document: Mapping[str, Any], *, exact_times: bool) -> str:
    """An event at a terminal. A field is not broken at the end of a line, and an id makes way for a known name."""
    at = document["at"]
    when = cell("at", at) if exact_times else datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")
    known = {name: value for name, value in document.items() if IDS.get(name) not in document}
    parts = [f"{when}  {document['event']}", *(pair for pair in _pairs(known) if pair and not pair.endswith("=-"))]
    text = flowing([printable(part) for part in parts], width())
    return click.style(text, fg="yellow") if "outcome" in document and coloured() else text


def _pairs(document: Mapping[str, Any]) -> list[str]:
    rest = {name: value for name, value in document.items() if name not in ("id", "at", "event", "details")}
    return [*(f"{name}={cell(name, value)}" for name, value in rest.items()), document["details"]]


def view(entry: StoredEntry) -> dict[str, Any]:
    return answers.AuditView.of(entry).model_dump(exclude_none=True)
