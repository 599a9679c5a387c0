"""The values of the metrics: an array of doubles that another process can read at any time."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING

from authsvc.metrics.families import OTHER, Family

# One thread of one process writes a double, and a reader always sees it whole.
if TYPE_CHECKING:
    Values = memoryview[float]
else:  # `memoryview` takes no parameters before Python 3.14
    Values = memoryview
# The first cell of a series, by the values of its labels.
Offsets = dict[tuple[str, ...], int]


def new_values(families: Sequence[Family]) -> Values:
    """Make an array that only this process can read."""
    return memoryview(bytearray(8 * cell_count(families))).cast("d")


def cell_count(families: Sequence[Family]) -> int:
    """How many cells these families need."""
    return sum(len(family.series) * family.width for family in families)


def offsets(families: Sequence[Family]) -> dict[str, Offsets]:
    """Lay out the families one after the other; returns the offsets of each by its name."""
    cells = count()
    found: dict[str, Offsets] = {}
    for family in families:
        series: Offsets = {}
        for labels in family.series:
            series[labels] = next(cells)
            for _ in range(family.width - 1):
                next(cells)
        found[family.name] = series
    return found


class _Series:
    """The cells of one family. Unlisted label values count as OTHER."""

    __slots__ = ("_offsets", "_other", "_values")

    def __init__(self, values: Values, offsets: Offsets) -> None:
        self._values = values
        self._offsets = offsets
        width = len(next(iter(offsets)))
        self._other = offsets[(OTHER,) * width]

    def cell(self, *labels: str) -> int:
        return self._offsets.get(labels, self._other)

    def value(self, *labels: str) -> float:
        """The number of this process."""
        return self._values[self.cell(*labels)]


class Counter(_Series):
    """Values that only grow."""

    __slots__ = ()

    def add(self, *labels: str, by: float = 1) -> None:
        self._values[self._offsets.get(labels, self._other)] += by

    def add_at(self, cell: int) -> None:
        """Add one to a cell that the caller looked up before. The fast path saves the look-up."""
        self._values[cell] += 1


class Gauge(_Series):
    """Values that rise and fall. The gauge of several processes is their sum."""

    __slots__ = ()

    def set(self, value: float, *labels: str) -> None:
        self._values[self._offsets.get(labels, self._other)] = value

    def add(self, by: float, *labels: str) -> None:
        self._values[self._offsets.get(labels, self._other)] += by


class Histogram(_Series):
    """Counts of observed values: one cell for each bucket, one for larger values, one for the sum."""

    __slots__ = ("_bounds",)

    def __init__(self, values: Values, offsets: Offsets, bounds: tuple[float, ...]) -> None:
        super().__init__(values, offsets)
        self._bounds = bounds

    def observe(self, value: float, *labels: str) -> None:
        self.observe_at(self._offsets.get(labels, self._other), value)

    def observe_at(self, cell: int, value: float) -> None:
        values, bounds = self._values, self._bounds
        values[cell + bisect_left(bounds, value)] += 1
        values[cell + len(bounds) + 1] += value
