"""Lists for people fit the terminal: whole words, whole columns, the most important ones first."""

import pytest

from authsvc.cli.layout import Columns, cells_of, fitted, paragraph, table_lines
from tests.selection import one_in

COLUMNS = Columns(
    ("session_id", "user", "sub", "client", "device", "ip", "last_seen"),
    spare=("sub", "ip", "device"),
    bare=("session_id",),
)
ROWS = [
    ["8Zq04ftxodgJ", "ada", "4fQ0kzPq1LxA", "web shop", "Ada's phone in the kitchen", "127.0.0.1", "2 min ago"],
    ["JvouvIdXDsyx", "-", "google|109876543210987654321", "issuer", "-", "2001:db8:1:2:3:4:5:6", "3 d ago"],
    ["n6JLKe7hUQfW", "松本行弘", "GhOyM99Y9kuJ", "built-in", "Firefox", "127.0.0.1", "1 h ago"],
]
WORDS = {word for row in ROWS for text in row for word in text.split()}


def lines_at(width: int) -> list[str]:
    table = fitted(COLUMNS, ROWS, width)
    if table is None:
        return [line for row in ROWS for line in paragraph(COLUMNS, row, width).splitlines()]
    rows = [dict(zip(COLUMNS.names, row, strict=True)) for row in ROWS]
    return [line for row in rows for line in table_lines(table, [row[name] for name in table.columns])]


@pytest.mark.parametrize("width", one_in(3, [*range(36, 160, 4), 1000]))
def test_no_line_is_too_wide_and_no_word_is_broken(width: int) -> None:
    """At every width from 36 cells each line fits, and consists of words of the values; an id may end in `…`."""
    for line in lines_at(width):
        assert cells_of(line) <= width, line
        for word in line.split():
            text = word.rpartition("=")[2]
            assert text in WORDS or any(whole.startswith(text[:-1]) for whole in WORDS if text.endswith("…")), word


def test_a_word_longer_than_the_line_stays_whole() -> None:
    """The terminal breaks it, so that it can still be copied."""
    text = paragraph(COLUMNS, ROWS[1], 20)
    assert "sub=google|109876543210987654321" in text.split()


def test_columns_are_left_out_in_their_order() -> None:
    """A narrower terminal has fewer columns, the spare ones first, and at last `name=value` lines with all values."""
    seen = [fitted(COLUMNS, ROWS, width) for width in (200, 112, 90, 64, 60)]
    shown = [table and table.columns for table in seen]
    assert shown == [
        COLUMNS.names,
        ("session_id", "user", "client", "device", "ip", "last_seen"),
        ("session_id", "user", "client", "device", "last_seen"),
        ("session_id", "user", "client", "last_seen"),
        None,
    ]
    assert paragraph(COLUMNS, ROWS[1], 1000).split("  ") == [
        "JvouvIdXDsyx",
        "sub=google|109876543210987654321",
        "client=issuer",
        "ip=2001:db8:1:2:3:4:5:6",
        "last_seen=3 d ago",
    ]


def test_an_id_stands_in_for_a_missing_name() -> None:
    """Where the column of ids is left out, a user without a name is not `-`."""
    table = fitted(COLUMNS, ROWS, 80)
    assert table is not None
    assert table.widths[table.columns.index("user")] == len("google|109876543210987654321")


def test_a_column_without_a_value_is_left_out() -> None:
    """`-` in every row needs no column. A list without rows keeps all of them."""
    table = fitted(COLUMNS, [["8Zq04ftxodgJ", "ada", "-", "-", "-", "-", "-"]], 80)
    assert table is not None
    assert table.columns == ("session_id", "user")


def test_a_column_is_as_wide_as_its_longest_word() -> None:
    """Where the longest word of a text does not fit beside the other columns, there is no table."""
    columns = Columns(("client_id", "audience"))
    rows = [["vxSfHKJIWptz", "notes https://orders.example.org/of/the/north"]]
    longest = len("https://orders.example.org/of/the/north")
    assert fitted(columns, rows, 12 + 2 + longest) is not None
    assert fitted(columns, rows, 12 + 2 + longest - 1) is None
