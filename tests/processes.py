"""Waits for processes, and finds the processes of a data directory or of a parent."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class TooLate(AssertionError):
    """Something took longer than its bound. pytest runs such a test again, and it fails if it is late three times."""


def in_time(took_s: float, bound_s: float, what: object = "it") -> None:
    """Raise TooLate unless it took less time than its bound: a machine may stand still for a second."""
    if took_s >= bound_s:
        raise TooLate(f"{what} took {took_s:.2f} s, its bound is {bound_s:.2f} s")


def until(done: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for something that takes far less time, unless it never comes or the machine is busy."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.01)


class Stopwatch:
    """The time since it was made, without the time for which other programs had the processors that this thread wanted.

    Linux counts that time. A bound on the time of an answer is a promise for a machine that is not full.
    """

    def __init__(self) -> None:
        self._began = self._now()

    def seconds(self) -> float:
        return self._now() - self._began

    @staticmethod
    def _now() -> float:
        try:
            starved_ns = int(Path("/proc/thread-self/schedstat").read_text().split()[1])
        except (OSError, IndexError):
            starved_ns = 0
        return time.monotonic() - starved_ns / 1e9


def alive(pid: int) -> bool:
    """Whether the process runs. A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid: int) -> list[int]:
    """The children of a process and their descendants."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return [*children, *(one for child in children for one in descendants(child))]


def processes_on(data_dir: Path) -> list[int]:
    """The servers whose working directory this is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve(strict=True) == data_dir.resolve():
                found.append(int(process.name))
        except OSError:
            continue
    return [pid for pid in found if alive(pid)]


def resident_kib(pid: int) -> int:
    """The memory that a process has in use."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])
