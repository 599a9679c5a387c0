"""A bar chart as SVG: numbers in, shapes out."""

from collections.abc import Sequence
from typing import NamedTuple

WIDTH, BASE = 480, 100
_GAP = 2


class Bar(NamedTuple):
    """A bar with two parts: `good` at the bottom and `bad` above it. label: what it counts, in words."""

    x: float
    width: float
    good_y: float
    good_height: float
    bad_y: float
    bad_height: float
    label: str


class Count(NamedTuple):
    """What one bar shows."""

    label: str
    good: int
    bad: int


def bars(counts: Sequence[Count]) -> list[Bar]:
    """The bars of these counts, scaled to the largest."""
    largest = max((one.good + one.bad for one in counts), default=0) or 1
    step = WIDTH / max(len(counts), 1)
    made = []
    for at, one in enumerate(counts):
        good, bad = one.good / largest * (BASE - 8), one.bad / largest * (BASE - 8)
        # A count that is not zero can be seen.
        good, bad = max(good, 2.0 if one.good else 0.0), max(bad, 2.0 if one.bad else 0.0)
        top = BASE - good
        made.append(Bar(at * step, step - _GAP, top, good, top - bad, bad, one.label))
    return made
