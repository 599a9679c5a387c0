"""Compares rows of this checkout with the same rows of another checkout, in one run in which the two take turns.

The servers of both checkouts run on the same stores, so they read the same records. Each has the packages of its own
`.venv`. Only one of them is asked at a time, so both have the same cores.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.context import Bench, Guest, say
from bench.rounds import IN_ROUNDS
from bench.wrk import Figures

# The servers of other products are the same for both checkouts.
COMPARABLE = frozenset(IN_ROUNDS) - {3, 4, 5, 15}


def compare(bench: Bench, other: Path, rows: Sequence[int]) -> None:
    """Print the figures of each round and their ratio, then the medians.

    A rate above 1: this checkout is faster. A time below 1: this checkout is faster.
    """
    guest = Guest(bench, other)
    # The service of this checkout starts first, on an empty store, which it prepares.
    pairs = [pair for row in rows for pair in zip(*(IN_ROUNDS[row](one) for one in (bench, guest)), strict=True)]
    found: dict[str, list[tuple[Figures, Figures]]] = {here.key: [] for here, _ in pairs}
    for number in range(bench.options.rounds):
        for here, there in pairs:
            # A B, then B A: a machine that gets slower all the time must not favour one of them.
            if number % 2 == 0:
                ours, theirs = here.measure(), there.measure()
            else:
                theirs, ours = there.measure(), here.measure()
            found[here.key].append((ours, theirs))
            say(f"  round {number + 1}  {here.key:<16} {_told(ours, theirs, 'rate')}")
    for line in summary(found):
        say(line)


def summary(found: dict[str, list[tuple[Figures, Figures]]]) -> list[str]:
    """For each row and figure the median of the rounds' ratios, with the least and the greatest, and both medians."""
    lines = []
    for key, pairs in found.items():
        for name in pairs[0][0]:
            ratios = [ours[name] / theirs[name] for ours, theirs in pairs if theirs[name]]
            if ratios:
                spread = f"{median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
                here, there = (median(pair[side][name] for pair in pairs) for side in (0, 1))
                medians = f"{here:,.2f} here, {there:,.2f} there"
                lines.append(f"{key:<16} {name:<8} this/other {spread} in {len(ratios)} rounds: {medians}")
    return lines


def _told(ours: Figures, theirs: Figures, name: str) -> str:
    ratio = ours[name] / theirs[name]
    return f"{name} {ours[name]:,.0f} here, {theirs[name]:,.0f} there: {ratio:.3f}"
