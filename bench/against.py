"""Compares rows of this checkout with the same rows of another checkout, in one run in which the two take turns.

Each checkout measures itself: bench.side runs under the checkout's own interpreter (`.venv/bin/python`), with its own
bench, packages, store and servers. Only one of the two is asked at a time, so both have the same cores.
"""

import json
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.context import say
from bench.servers import ROOT, BenchError, clean_environment
from bench.wrk import Figures

# Rows that are measured in rounds. The others (9, 10, 13) fill a store for themselves.
COMPARABLE = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14})
END_WITHIN_S = 60


class Side:
    """A running bench.side. `name`: what its figures are printed under."""

    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        self.name = name
        self._process = process

    def hear(self) -> Any:
        """The next line that the side prints. Raises BenchError if the side has ended."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise BenchError(f"the bench of {self.name} ended, see above")
        return json.loads(line)

    def measured(self, key: str) -> Figures:
        if self._process.stdin is None:
            raise BenchError(f"the bench of {self.name} takes no orders")
        self._process.stdin.write(f"{key}\n")
        self._process.stdin.flush()
        figures: Figures = self.hear()
        return figures


@contextmanager
def side(name: str, checkout: Path, rows: Sequence[int], seconds: float) -> Iterator[Side]:
    """The bench of a checkout, which prepares these rows. Raises BenchError."""
    python = checkout / ".venv" / "bin" / "python"
    if not python.exists():
        raise BenchError(f"{checkout} has no .venv; run `make .venv/installed` there")
    # -P: this folder must not come before the checkout's packages.
    command = [str(python), "-P", str(ROOT / "bench" / "side.py"), ",".join(map(str, rows)), str(seconds)]
    process = subprocess.Popen(
        command,
        cwd=checkout,
        env=clean_environment() | {"PYTHONPATH": str(checkout)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the side in order
    )
    try:
        yield Side(name, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def compare(other: Path, rows: Sequence[int], rounds: int, seconds: float) -> None:
    """Print the rates of each round and their ratio, then the medians. Above 1: this checkout is faster."""
    with ExitStack() as stack:
        here = stack.enter_context(side("this checkout", ROOT, rows, seconds))
        keys = here.hear()
        there = stack.enter_context(side(str(other), other, rows, seconds))
        there.hear()
        found: dict[str, list[tuple[Figures, Figures]]] = {key: [] for key in keys}
        for number in range(rounds):
            # A B, then B A: a machine that gets slower all the time must not favour one of them.
            order = (here, there) if number % 2 == 0 else (there, here)
            for key in keys:
                taken = {one.name: one.measured(key) for one in order}
                found[key].append((taken[here.name], taken[there.name]))
                say(f"  round {number + 1}  {key:<16} {_told(*found[key][-1], 'rate')}")
    for line in summary(found):
        say(line)


def summary(found: dict[str, list[tuple[Figures, Figures]]]) -> list[str]:
    """For each row and figure the median of the rounds' ratios, with the least and the greatest."""
    lines = []
    for key, pairs in found.items():
        for name in pairs[0][0]:
            ratios = [ours[name] / theirs[name] for ours, theirs in pairs if theirs[name]]
            if ratios:
                spread = f"{median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
                lines.append(f"{key:<16} {name:<8} this/other {spread} in {len(ratios)} rounds")
    return lines


def _told(ours: Figures, theirs: Figures, name: str) -> str:
    ratio = ours[name] / theirs[name]
    return f"{name} {ours[name]:,.0f} here, {theirs[name]:,.0f} there: {ratio:.3f}"
