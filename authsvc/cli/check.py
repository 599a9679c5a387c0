"""`authsvc check`: is this installation as it should be, row by row, with what to do."""

import json
from collections import Counter

import click

from authsvc.cli.checks import Check, Verdict, configuration, directory, records, store
from authsvc.cli.facts import Facts, gather
from authsvc.cli.output import say, show_list

CHECKS: tuple[Check, ...] = (
    *configuration.CHECKS,
    *store.CHECKS,
    *directory.CHECKS,
    *records.CHECKS,
)


def judge(facts: Facts) -> list[tuple[Check, Verdict]]:
    return [(check, check.judge(facts)) for check in CHECKS]


def show_checks(*, as_json: bool, strict: bool) -> tuple[bool, bool]:
    """Print every row. Returns whether the store could be asked, and whether nothing failed."""
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
        show_list([_with_todo(document) for document in documents], ("result", "check", "why", "rule"), as_json=False)
        say(", ".join(f"{number} {result}" for result, number in counted.most_common()))
    return facts.problem is None, fine


def _with_todo(document: dict[str, str | None]) -> dict[str, str | None]:
    # In one column, because a terminal has no room for two that hold sentences.
    return document | {"why": " → ".join(filter(None, (document["why"], document["todo"])))}
