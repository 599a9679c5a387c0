"""Parsing a stream of server-sent events (HTML Living Standard, section 9.2)."""

import re
from collections.abc import Iterator

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):
    """An event, or a line, exceeds the limit of the parser."""


class EventParser:
    """Cuts a stream into events. A chunk may end anywhere, inside a character or between CR and LF too.

    Ignores comments, unknown fields, `id` and `retry`, and events without a name. The parser deviates from the
    standard in two points, so that a feed of changes loses none: broken characters raise UnicodeDecodeError, and a
    named event without data is returned too.
    """

    def __init__(self, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._at_start = True
        self._line = b""  # the beginning of a line that has no end yet
        self._after_cr = False  # a line feed that comes next belongs to this CR
        self._data: list[str] = []
        self._name, self._data_bytes = "", 0

    def feed(self, chunk: bytes) -> Iterator[tuple[str, str]]:
        """Return the events that this chunk completes, as pairs of name and data.

        Raises EventTooLarge and UnicodeDecodeError.
        """
        for line in self._lines(chunk):
            if line:
                self._take_field(line)
            elif self._name or self._data:
                name, data = self._name, "\n".join(self._data)
                self._name, self._data, self._data_bytes = "", [], 0
                if name:
                    yield name, data
        if len(self._line) + self._data_bytes > self._max_event_bytes:
            raise EventTooLarge("an event without an end")

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        if not chunk:
            return
        after_cr, self._after_cr = self._after_cr, chunk.endswith(b"\r")
        if after_cr:
            chunk = chunk.removeprefix(b"\n")
        first, *others = _LINE_END.split(chunk)
        lines = [self._line + first, *others]
        self._line = lines.pop()
        for line in lines:
            if self._at_start:
                line = line.removeprefix(_BYTE_ORDER_MARK)
                self._at_start = False
            yield line

    def _take_field(self, line: bytes) -> None:
        field, _, value = line.decode().partition(":")  # a comment is a field without a name
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
            self._data_bytes += len(line)
            if self._data_bytes > self._max_event_bytes:
                raise EventTooLarge("an event without an end")
