"""The bytes of a file that is read once, and how many of them were read."""

from collections.abc import Iterator
from typing import BinaryIO

_PIECE = 256 * 1024


class InputFile:
    """`read_bytes`: how far the reader is, for showing progress."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read_bytes = 0

    def read(self, size: int = _PIECE) -> bytes:
        piece = self._file.read(size)
        self.read_bytes += len(piece)
        return piece

    def pieces(self) -> Iterator[bytes]:
        while piece := self.read():
            yield piece
