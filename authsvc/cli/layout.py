"""Fits a list to the width of a terminal: a table of the columns that fit, or `name=value` lines. No word is broken."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# Columns of words. Their cells take several lines if the terminal is narrow.
_PROSE = frozenset({"name", "device", "permissions", "audience", "scope", "roles", "reason", "details", "why", "rule"})
# A column of words that needs this width is not made narrower; other columns are left out first.
_READABLE = 24
# Longer texts in these columns are shortened to this width if the terminal is narrow.
_SHORT = {"sub": 12, "session_id": 12, "client_id": 12, "client": 24, "user": 32, "username": 32, "actor": 32}
# The id that stands in a table in the place of a missing name, and the name that stands for an id.
_NAMED = {"user": "sub", "client": "client_id"}
IDS = {id_: name for name, id_ in _NAMED.items()}
_GAP = "  "
_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a list, from the left.

    spare: those that a narrow terminal leaves out, in this order. bare: those that a paragraph shows without their
    names.
    """

    names: tuple[str, ...]
    spare: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()


class Table(NamedTuple):
    """The columns that fit, and the width of each."""

    columns: tuple[str, ...]
    widths: tuple[int, ...]


def cells_of(text: str) -> int:
    """The width of a text on a terminal: some characters take two cells, some none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def fitted(columns: Columns, rows: Sequence[Sequence[str]], width: int) -> Table | None:
    """The columns that fit into this width. None: too few of them do. `-` is the cell of a missing value."""
    full = zip(columns.names, *(with_ids(columns, row) for row in rows), strict=True)
    texts = {name: column for name, *column in full if not rows or any(text not in ("-", "") for text in column)}
    whole = {name: max(map(cells_of, (name, *column))) for name, column in texts.items()}
    least = {name: _least(name, column, whole[name]) for name, column in texts.items()}
    for name in (None, *columns.spare):
        least.pop(name or "", None)
        room = width - len(_GAP) * (len(least) - 1) - sum(least.values())
        if room >= 0:
            return Table(tuple(least), _widened(least, whole, room))
    return None


def with_ids(columns: Columns, row: Sequence[str]) -> list[str]:
    """The row for a table: an id in the place of a missing name, because the column of ids may be left out."""
    cells = dict(zip(columns.names, row, strict=True))
    return [cells.get(_NAMED.get(name, name), text) if text == "-" else text for name, text in cells.items()]


def _least(name: str, texts: Sequence[str], whole: int) -> int:
    """The least width of a column in which no word is broken."""
    if name in _PROSE:
        longest = max((cells_of(word) for text in (name, *texts) for word in text.split(" ")), default=0)
        return max(longest, min(whole, _READABLE))
    return min(whole, max(_SHORT.get(name, whole), len(name)))


def _widened(least: Mapping[str, int], whole: Mapping[str, int], room: int) -> tuple[int, ...]:
    """The widths after the room is given away: first to what would be shortened, then to words."""
    widths = dict(least)
    for name in sorted(least, key=lambda name: name in _PROSE):
        more = min(room, whole[name] - widths[name])
        widths[name] += more
        room -= more
    return tuple(widths.values())


def table_lines(table: Table, row: Sequence[str]) -> Iterator[str]:
    """The lines of a row, whose cells are those of the table's columns."""
    cells = [
        wrapped(text, width) if name in _PROSE else [_shortened(text, width)]
        for name, width, text in zip(*table, row, strict=True)
    ]
    for at in range(max(map(len, cells), default=0)):
        line = [cell[at] if at < len(cell) else "" for cell in cells]
        yield _GAP.join(_padded(text, width) for text, width in zip(line, table.widths, strict=True)).rstrip()


def paragraph(columns: Columns, row: Sequence[str], width: int) -> str:
    """A row as `name=value`, without missing values. Lines break between the pairs, or between words."""
    known = [(name, text) for name, text in zip(columns.names, row, strict=True) if text not in ("-", "")]
    return flowing([text if name in columns.bare else f"{name}={text}" for name, text in known], width)


def flowing(parts: Sequence[str], width: int) -> str:
    """The parts, with two spaces between; further lines are indented. A part that fits into a line is not broken."""
    lines: list[str] = []
    for part in parts:
        if lines and cells_of(lines[-1]) + len(_GAP) + cells_of(part) <= width:
            lines[-1] += f"{_GAP}{part}"
            continue
        indent = _INDENT if lines else ""
        lines += [indent + line for line in wrapped(part, width - len(indent))]
    return "\n".join(lines)


def wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words. A longer word has a line of its own, and is as long as it is."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and cells_of(joined) > width:
            lines.append(word)
        else:
            lines[-1] = joined
    return lines


def _shortened(text: str, width: int) -> str:
    if cells_of(text) <= width:
        return text
    while cells_of(text) > width - 1:
        text = text[:-1]
    return f"{text}…"


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cells_of(text))
