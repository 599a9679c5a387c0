"""`authsvc audit`: the audit trail, once or as it grows."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import click

from authsvc.api.schemas import answers
from authsvc.cli.output import cell, coloured, listing, printable, say, show_list
from authsvc.cli.state import attached, run
from authsvc.errors import StartupError, StoreUnavailable
from authsvc.flows.deps import Deps
from authsvc.store.audit import StoredEntry

_COLUMNS = ("at", "event", "outcome", "actor", "sub", "session_id", "client_id", "reason", "ip", "details")
# The clocks of workers differ a little, so the trail is not exactly in the order of its times.
_SKEW_S = 60
# How often --follow looks at the trail, and how long it pauses when the store does not answer.
_LOOK_S, _AGAIN_S = 0.5, 1.0

Wanted = Callable[[StoredEntry], bool]


def wanted(*, event: str | None, sub: str | None, client_id: str | None) -> Wanted:
    """Which entries are asked for; `event` is one or the word before its dot."""

    def test(stored: StoredEntry) -> bool:
        found = stored.entry
        return (
            (event is None or found.event == event or found.event.startswith(f"{event}."))
            and sub in (None, found.sub)
            and client_id in (None, found.client_id)
        )

    return test


def show_trail(test: Wanted, *, limit: int, since_s: int | None, as_json: bool) -> None:
    """Print events, newest first."""
    with listing(_COLUMNS, as_json=as_json) as show:

        async def work(deps: Deps) -> None:
            async for entry in _latest(deps, _since(deps, test, since_s), limit=limit, since_s=since_s):
                show(view(entry))

        run(work)


def follow_trail(test: Wanted, *, limit: int, since_s: int | None, as_json: bool) -> None:
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
            shown = _since(deps, test, since_s)
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


def view(entry: StoredEntry) -> dict[str, Any]:
    return answers.AuditView.of(entry).model_dump(exclude_none=True)
