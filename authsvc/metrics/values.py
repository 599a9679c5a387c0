"""The numbers themselves: one cell of memory for each, so that another process can read them at any time."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING

from authsvc.metrics.families import OTHER, Family

# Doubles, each written by one thread of one process and whole in memory at any moment.
if TYPE_CHECKING:
    Cells = memoryview[float]
else:  # it takes no parameters before Python 3.14
    Cells = memoryview
Offsets = dict[tuple[str, ...], int]


def numbers(families: Sequence[Family]) -> Cells:
    """Cells of this process's own."""
    return memoryview(bytearray(8 * size(families))).cast("d")


def size(families: Sequence[Family]) -> int:
    """How many cells they take."""
    return sum(len(family.series) * family.width for family in families)


def offsets(families: Sequence[Family]) -> dict[str, Offsets]:
    """The first cell of each series, by the family's name and the series' labels."""
    at = count()
    found: dict[str, Offsets] = {}
    for family in families:
        series: Offsets = {}
        for labels in family.series:
            series[labels] = next(at)
            for _ in range(family.width - 1):
                next(at)
        found[family.name] = series
    return found


class _Series:
    """The cells of one family. Labels that it does not know are counted as others."""

    __slots__ = ("_at", "_cells", "_others")

    def __init__(self, cells: Cells, at: Offsets) -> None:
        self._cells = cells
        self._at = at
        width = len(next(iter(at)))
        self._others = at[(OTHER,) * width]

    def cell(self, *labels: str) -> int:
        return self._at.get(labels, self._others)


class Counter(_Series):
    """Numbers that only grow."""

    __slots__ = ()

    def add(self, *labels: str, by: float = 1) -> None:
        self._cells[self._at.get(labels, self._others)] += by

    def add_at(self, cell: int) -> None:
        """Count one in a cell that was asked for before, where even finding it again would be too dear."""
        self._cells[cell] += 1


class Gauge(_Series):
    """Numbers that are as they are now; of several processes, their sum."""

    __slots__ = ()

    def set(self, value: float, *labels: str) -> None:
        self._cells[self._at.get(labels, self._others)] = value

    def add(self, by: float, *labels: str) -> None:
        self._cells[self._at.get(labels, self._others)] += by


class Histogram(_Series):
    """How many values were at most so large: a cell for each bound, one for what is larger, one for the sum."""

    __slots__ = ("_bounds",)

    def __init__(self, cells: Cells, at: Offsets, bounds: tuple[float, ...]) -> None:
        super().__init__(cells, at)
        self._bounds = bounds

    def observe(self, value: float, *labels: str) -> None:
        self.observe_at(self._at.get(labels, self._others), value)

    def observe_at(self, cell: int, value: float) -> None:
        cells, bounds = self._cells, self._bounds
        cells[cell + bisect_left(bounds, value)] += 1
        cells[cell + len(bounds) + 1] += value
