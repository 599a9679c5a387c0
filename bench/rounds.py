"""Measures the rows. Rows that are compared take turns, so that a disturbance of the machine affects all of them."""

from bench.backends import costs, row_12, row_13
from bench.context import Bench, Turn, say
from bench.crowd import row_9, row_10, row_19
from bench.disturbed import row_20
from bench.gateway import row_14
from bench.logins import row_7, row_8
from bench.rows import row_1, row_2, row_3, row_4, row_5, row_6, row_11, row_15, row_16, row_17, row_18, row_21, row_22
from bench.wrk import Figures

INTROSPECTION = {
    1: row_1,
    2: row_2,
    3: row_3,
    4: row_4,
    5: row_5,
    6: row_6,
    11: row_11,
    15: row_15,
    16: row_16,
    17: row_17,
    18: row_18,
    21: row_21,
}
CROWDED = {9: row_9, 19: row_19}
# The rows that are measured in rounds, in groups that take turns, with the name of each group. Row 10 ends the sessions
# of row 9, so it comes after that group.
GROUPS = (
    ("introspection", INTROSPECTION),
    ("tokens for programs", {22: row_22}),
    ("logins", {7: row_7}),
    ("a login storm", {8: row_8}),
    ("many sessions", CROWDED),
    ("cached checks", {12: row_12}),
    ("/verify behind nginx", {14: row_14}),
    ("beside changes", {20: row_20}),
)
IN_ROUNDS = {number: row for _, rows in GROUPS for number, row in rows.items()}
ROWS = frozenset(IN_ROUNDS) | {10, 13}


def alternate(turns: list[Turn], rounds: int, found: dict[str, list[Figures]]) -> None:
    """Measure A B C A B C …, and append the figures of each round."""
    for number in range(rounds):
        for turn in turns:
            figures = turn.measure()
            found.setdefault(turn.key, []).append(figures)
            shown = "  ".join(f"{name} {value:,.2f}" for name, value in figures.items())
            say(f"  round {number + 1}  {turn.key:<14} {shown}")


def measured(bench: Bench, wanted: frozenset[int]) -> dict[str, list[Figures]]:
    """The figures of the wanted rows."""
    found: dict[str, list[Figures]] = {}
    for name, rows in GROUPS:
        if chosen := sorted(wanted & rows.keys()):
            say(f"{name}, rows " + ", ".join(map(str, chosen)))
            alternate([turn for number in chosen for turn in rows[number](bench)], bench.options.rounds, found)
    if 12 in wanted:
        found["backends"] = [costs(bench)]
    if 13 in wanted:
        say("revocation to refusal, row 13")
        found |= row_13(bench)
    if 10 in wanted:
        say("revoking, row 10")
        found |= row_10(bench)
    return found
