"""Prints for all commands: data on stdout, as tables or JSON, and messages on stderr."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click

# Wider than any row: another program must read rows that are not folded.
_UNLIMITED = 100_000
# How many rows of a table are in memory at a time.
_PAGE = 1000
_TIMES = frozenset({"at", "created_at", "last_seen", "expires_at", "access_expires_at", "auth_time"})

# By the `result` of a row; seen at a terminal only.
_COLOURS: dict[Any, str] = {"fail": "bold red", "warn": "yellow"}

# Columns that take several lines in a table first, so that ids and times stay on one line.
_PROSE = frozenset({"name", "device", "permissions", "audience", "scope", "roles", "reason", "details", "why", "rule"})

ShowOne = Callable[[Mapping[str, Any]], None]


def coloured() -> bool:
    """Whether stdout takes colours, and the reader (NO_COLOR) wants them."""
    from rich.console import Console

    console = Console()
    return console.is_terminal and not console.no_color and console.color_system is not None


def say(message: str) -> None:
    click.echo(printable_lines(message), err=True)


def show(document: Mapping[str, Any], *, as_json: bool) -> None:
    """One object: a line of JSON, or a line for each field that has a value."""
    if as_json:
        click.echo(json.dumps(document))
        return
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in document.items():
        if value is not None:
            _add(table, name, cell(name, value))
    _print(table)


def show_list(documents: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """A list: a line of JSON for each object, or a table of some of their fields."""
    with listing(columns, as_json=as_json) as show_one:
        for document in documents:
            show_one(document)


@contextmanager
def listing(columns: Sequence[str], *, as_json: bool) -> Iterator[ShowOne]:
    """Like `show_list`, for documents that come one after the other: at most one page of a table is in memory."""
    if as_json:
        yield lambda document: click.echo(json.dumps(document))
        return
    table = _PagedTable(columns)
    yield table.add
    table.close()


class _PagedTable:
    """Prints a table in pages. At a terminal each page has a header, and its own widths."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._terminal = sys.stdout.isatty()
        self._widths = [0] * len(columns)
        self._held: list[Mapping[str, Any]] = []
        self._printed = False

    def add(self, document: Mapping[str, Any]) -> None:
        self._held.append(document)
        if len(self._held) == _PAGE:
            self._print_page()

    def close(self) -> None:
        """Print the rest, or the header of an empty table."""
        if self._held or not self._printed:
            self._print_page()

    def _print_page(self) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        documents, self._held = self._held, []
        columns = self._columns
        rows = [[cell(column, document.get(column)) for column in columns] for document in documents]
        widths = self._widths = _widths(columns, rows, self._widths)
        if self._terminal:  # width is short there, so columns without any value are left out
            used = [at for at in range(len(columns)) if not rows or any(row[at] != "-" for row in rows)]
            columns, rows = [columns[at] for at in used], [[row[at] for at in used] for row in rows]
            widths = _widths(columns, rows)
        # In a pipe, the table is a header and a line for each object, without a frame.
        header = self._terminal or not self._printed
        table = Table(
            box=SIMPLE_HEAD if self._terminal else None, pad_edge=False, padding=(0, 2, 0, 0), show_header=header
        )
        whole = _fits(columns, widths)
        for column, width in zip(columns, widths, strict=True):
            least = None if self._terminal else width
            table.add_column(column, overflow="fold", no_wrap=whole and column not in _PROSE, min_width=least)
        for document, row in zip(documents, rows, strict=True):
            _add(table, *row, style=_COLOURS.get(document.get("result"), ""))
        _print(table)
        self._printed = True


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]], least: Sequence[int] = ()) -> list[int]:
    from rich.cells import cell_len

    widths = [max(map(cell_len, texts)) for texts in zip(columns, *rows, strict=True)]
    return list(map(max, widths, least)) if least else widths


def _fits(columns: Sequence[str], widths: Sequence[int]) -> bool:
    """Whether the terminal is wide enough for ids and times to stay on one line. If not, they fold too."""
    from rich.console import Console

    needed = [min(width, 10) if column in _PROSE else width for column, width in zip(columns, widths, strict=True)]
    return sum(needed) + 3 * len(columns) <= Console().width


def cell(name: str, value: Any) -> str:
    """A value as people read it; times are local."""
    if value is None or value == "" or value == []:
        return "-"
    if name in _TIMES:
        return datetime.fromtimestamp(value).astimezone().isoformat(timespec="seconds")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def ago(at: float, now: float) -> str:
    """A time as people say it: `2 min ago`."""
    seconds = max(0, int(now - at))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def printable(text: str) -> str:
    """The text with control and other invisible characters escaped: a user agent must not steer the terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def printable_lines(text: str) -> str:
    """Like `printable`, for a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def _add(table: Any, *cells: str, style: str = "") -> None:
    from rich.text import Text  # the [brackets] of a value are text, not markup

    table.add_row(*(Text(printable(text), overflow="fold") for text in cells), style=style)


def _print(table: Any) -> None:
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False).print(table)
        return
    console = Console(width=_UNLIMITED, color_system=None, highlight=False)
    with console.capture() as capture:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
