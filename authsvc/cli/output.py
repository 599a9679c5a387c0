"""Prints for all commands: data on stdout, as tables or JSON, and messages on stderr."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click

from authsvc.cli.layout import Columns, Table, cells_of, fitted, paragraph, table_lines, with_ids, wrapped

# How many rows of a table are in memory at a time.
_PAGE = 1000
_PAST = frozenset(
    {"at", "created_at", "last_seen", "last_used_at", "last_login_at", "auth_time", "changed_at", "leaked_at"}
)
_COMING = frozenset({"expires_at", "access_expires_at", "locked_until"})

# By the `result` or the `outcome` of a row; seen at a terminal only.
_COLOURS: dict[Any, dict[str, Any]] = {
    "fail": {"fg": "red", "bold": True},
    "warn": {"fg": "yellow"},
    "failure": {"fg": "yellow"},
    "unsure": {"fg": "yellow"},
}

ShowOne = Callable[[Mapping[str, Any]], None]


def coloured() -> bool:
    """Whether stdout takes colours, and the reader (NO_COLOR) wants them."""
    from rich.console import Console

    console = Console()
    return console.is_terminal and not console.no_color and console.color_system is not None


def say(message: str) -> None:
    click.echo(printable_lines(message), err=True)


def counted(number: int, thing: str, *, at_least: bool = False) -> str:
    """`1 session`, `2,000 sessions`."""
    return f"{'at least ' if at_least else ''}{number:,} {thing}{'' if number == 1 else 's'}"


def show(document: Mapping[str, Any], *, as_json: bool) -> None:
    """One object: a line of JSON, or a line for each field that has a value."""
    if as_json:
        click.echo(json.dumps(document))
        return
    for_people = sys.stdout.isatty()
    longest = max(map(len, document), default=0) + 2
    now = time.time()
    for name, value in document.items():
        if value is None:
            continue
        text = cell(name, value)
        if for_people and name in _PAST | _COMING:
            text = f"{text} ({_said(name, value, now)})"
        lines = wrapped(printable(text), width() - longest) if for_people else [printable(text)]
        for at, line in enumerate(lines):
            click.echo(f"{'' if at else name:<{longest}}{line}".rstrip())


def show_list(
    documents: Iterable[Mapping[str, Any]], columns: Columns, *, as_json: bool, exact_times: bool = False
) -> None:
    """A list: a line of JSON for each object, or a table of some of their fields."""
    with listing(columns, as_json=as_json, exact_times=exact_times) as show_one:
        for document in documents:
            show_one(document)


@contextmanager
def listing(columns: Columns, *, as_json: bool, exact_times: bool = False) -> Iterator[ShowOne]:
    """Like `show_list`, for documents that come one after the other: at most one page of a table is in memory.

    exact_times: at a terminal. Elsewhere times are always exact.
    """
    if as_json:
        yield lambda document: click.echo(json.dumps(document))
        return
    table = _AtTerminal(columns, exact_times=exact_times) if sys.stdout.isatty() else _Piped(columns)
    yield table.add
    table.close()


class _Paged:
    """Holds the documents of a page. A list without documents prints nothing: the command says it in words."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._held: list[Mapping[str, Any]] = []

    def add(self, document: Mapping[str, Any]) -> None:
        self._held.append(document)
        if len(self._held) == _PAGE:
            self.close()

    def close(self) -> None:
        documents, self._held = self._held, []
        if documents:
            self._print(documents)

    def _print(self, documents: Sequence[Mapping[str, Any]]) -> None:
        raise NotImplementedError


class _Piped(_Paged):
    """A header and a line for each object, with all columns. Another program reads it, so nothing is wrapped."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns)
        self._widths: Sequence[int] = [0] * len(columns.names)
        self._headed = False

    def _print(self, documents: Sequence[Mapping[str, Any]]) -> None:
        names = self._columns.names
        rows = [[printable(cell(name, document.get(name))) for name in names] for document in documents]
        if not self._headed:
            rows.insert(0, list(names))
            self._headed = True
        self._widths = [max(most, *map(cells_of, texts)) for most, *texts in zip(self._widths, *rows, strict=True)]
        for row in rows:
            padded = (text + " " * (size - cells_of(text)) for text, size in zip(row, self._widths, strict=True))
            click.echo("  ".join(padded).rstrip())


class _AtTerminal(_Paged):
    """A table of the columns that fit, or a paragraph for each object. Each page has a header, and its own widths."""

    def __init__(self, columns: Columns, *, exact_times: bool) -> None:
        super().__init__(columns)
        self._exact_times = exact_times
        self._colours = coloured()

    def _print(self, documents: Sequence[Mapping[str, Any]]) -> None:
        now, names = time.time(), self._columns.names
        rows = [[self._cell(name, document.get(name), now) for name in names] for document in documents]
        table = fitted(self._columns, rows, width())
        if table is not None:
            self._echo("\n".join(table_lines(table, table.columns)), {"bold": True})
        for document, row in zip(documents, rows, strict=True):
            self._echo(self._text(table, row), _style(document))

    def _text(self, table: Table | None, row: Sequence[str]) -> str:
        if table is None:
            return paragraph(self._columns, row, width())
        cells = dict(zip(self._columns.names, with_ids(self._columns, row), strict=True))
        return "\n".join(table_lines(table, [cells[name] for name in table.columns]))

    def _cell(self, name: str, value: Any, now: float) -> str:
        if value is not None and name in _PAST | _COMING and not self._exact_times:
            return _said(name, value, now)
        return printable(cell(name, value))

    def _echo(self, text: str, style: Mapping[str, Any]) -> None:
        click.echo(click.style(text, **style) if self._colours and style else text)


def _style(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return _COLOURS.get(document.get("result"), {}) or _COLOURS.get(document.get("outcome"), {})


def width() -> int:
    """The width of the terminal, in cells."""
    return shutil.get_terminal_size().columns


def cell(name: str, value: Any) -> str:
    """A value as people read it; times are local."""
    if value is None or value == "" or value == [] or value == {}:
        return "-"
    if name in _PAST | _COMING:
        return datetime.fromtimestamp(value).astimezone().isoformat(timespec="seconds")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def ago(at: float, now: float) -> str:
    """A time in the past as people say it: `2 min ago`."""
    return f"{span(now - at)} ago"


def _said(name: str, at: float, now: float) -> str:
    return f"in {span(at - now)}" if name in _COMING and at > now else ago(at, now)


def span(seconds: float) -> str:
    """A length of time in its largest unit: `3 h`."""
    whole = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def in_units(seconds: int) -> str:
    """A length of time, exactly: `7 days`, `1 minute 30 seconds`."""
    parts, rest = [], seconds
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(counted(count, unit))
    return " ".join(parts) or "0 seconds"


def printable(text: str) -> str:
    """The text with control and other invisible characters escaped: a user agent must not steer the terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def printable_lines(text: str) -> str:
    """Like `printable`, for a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))
