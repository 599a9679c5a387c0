"""Texts without repetitions, in order, in little memory: a million names of records take about ten megabytes."""

import gzip
import heapq
from collections.abc import Iterator
from io import BytesIO
from itertools import groupby

# How many texts are sorted and compressed at a time. While texts are read, each run takes about 50 KB besides its own
# bytes, so runs are long.
_RUN = 50_000


class Distinct:
    """Collects texts without line breaks. Iterating over them merges the compressed runs."""

    def __init__(self) -> None:
        self._runs: list[bytes] = []
        self._latest: set[str] = set()

    def add(self, text: str) -> None:
        self._latest.add(text)
        if len(self._latest) == _RUN:
            self._compress()

    def __iter__(self) -> Iterator[str]:
        self._compress()
        for text, _ in groupby(heapq.merge(*map(_lines, self._runs))):
            yield text

    def _compress(self) -> None:
        lines = "".join(f"{text}\n" for text in sorted(self._latest))
        self._runs.append(gzip.compress(lines.encode(), compresslevel=1))
        self._latest.clear()


def _lines(run: bytes) -> Iterator[str]:
    with gzip.open(BytesIO(run)) as lines:
        for line in lines:
            yield line[:-1].decode()
