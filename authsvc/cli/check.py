"""`authsvc check`: is this installation as it should be, row by row, with what to do."""

import json
from collections import Counter

import click

from authsvc.checks import Result
from authsvc.checks.table import judge
from authsvc.cli.facts import gather
from authsvc.cli.layout import Columns
from authsvc.cli.output import say, show_list

_COLUMNS = Columns(("result", "check", "why", "rule"), spare=("rule",), bare=("result", "check", "why"))
# The order of the rows, and the results whose rows are counted only.
_ORDER: tuple[Result, ...] = ("fail", "warn", "unknown", "pass", "n/a")
_FOLDED = ("pass", "n/a")


def show_checks(*, as_json: bool, strict: bool, everything: bool) -> tuple[bool, bool]:
    """Print the rows that need attention, the worst first, or every row.

    Returns whether the store could be asked, and whether nothing failed.
    """
    facts = gather()
    rows = judge(facts)
    counted = Counter(verdict.result for _, verdict in rows)
    fine = not counted["fail"] and not (strict and counted["warn"])
    documents = [
        {"result": verdict.result, "check": check.name, "why": verdict.why, "todo": verdict.todo, "rule": check.rule}
        for check, verdict in rows
    ]
    if as_json:
        click.echo(json.dumps({"ok": fine, "checks": documents}))
    else:
        # While the store is away, all that it would have told is unknown. The row `store` says so once.
        folded = _FOLDED if facts.problem is None else (*_FOLDED, "unknown")
        shown = sorted(
            [document for document in documents if everything or document["result"] not in folded],
            key=lambda document: list[str | None](_ORDER).index(document["result"]),
        )
        if shown:
            show_list([_with_todo(document) for document in shown], _COLUMNS, as_json=False)
        counts = ", ".join(f"{counted[result]} {result}" for result in _ORDER if counted[result])
        say(counts if everything else f"{counts}; --all shows every row")
    return facts.problem is None, fine


def _with_todo(document: dict[str, str | None]) -> dict[str, str | None]:
    # In one column, because a terminal has no room for two that hold sentences.
    return document | {"why": " → ".join(filter(None, (document["why"], document["todo"])))}
