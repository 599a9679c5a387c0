"""Measures the rows. Rows that are compared take turns, so that a disturbance of the machine affects all of them."""

from bench.backends import costs, row_12, row_13
from bench.context import Bench, Turn, say
from bench.crowd import crowd, row_9, row_10
from bench.gateway import row_14
from bench.logins import row_7, row_8
from bench.rows import row_1, row_2, row_3, row_4, row_5, row_6, row_11
from bench.wrk import Figures

ALTERNATING = {1: row_1, 2: row_2, 3: row_3, 4: row_4, 5: row_5, 6: row_6, 11: row_11}
ROWS = frozenset(range(1, 15))


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
    rounds = bench.options.rounds
    if turns := [turn for number, row in ALTERNATING.items() if number in wanted for turn in row(bench)]:
        say("introspection, rows " + ", ".join(str(number) for number in ALTERNATING if number in wanted))
        alternate(turns, rounds, found)
    if 7 in wanted:
        say("logins, row 7")
        alternate(row_7(bench), rounds, found)
    if 8 in wanted:
        say("a login storm, row 8")
        alternate(row_8(bench), rounds, found)
    if wanted & {9, 10}:
        crowded = crowd(bench)
        if 9 in wanted:
            say("many sessions, row 9")
            alternate(row_9(bench, crowded), rounds, found)
        if 10 in wanted:
            say("revoking, row 10")
            found |= row_10(bench, crowded)
    if 12 in wanted:
        say("cached checks, row 12")
        alternate(row_12(bench), rounds, found)
        found["backends"] = [costs(bench)]
    if 13 in wanted:
        say("revocation to refusal, row 13")
        found |= row_13(bench)
    if 14 in wanted:
        say("/verify behind nginx, row 14")
        alternate(row_14(bench), rounds, found)
    return found
