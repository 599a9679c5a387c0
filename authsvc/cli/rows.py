"""Reading files of users piece by piece, whatever their size: CSV, JSON lines, and one JSON document with `users`."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

from authsvc.errors import InvalidRequest
from authsvc.flows.import_users import Row

Format = Literal["csv", "jsonl", "document"]

_PIECE = 256 * 1024
_MAX_LINE = 1024 * 1024
_MAX_VALUE = 16 * 1024 * 1024  # one user, or one setting, of a JSON document
_SPACE = re.compile(r"[ \t\r\n]*")
_SUFFIXES: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
# What may be repeated in a message of ours: in a file without its header line, a column's "name" is somebody's hash.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")


class Source:
    """The bytes of a file, and how many of them were read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read = 0

    def pieces(self) -> Iterator[bytes]:
        while piece := self._file.read(_PIECE):
            self.read += len(piece)
            yield piece


def format_of(path: Path | None) -> Format:
    """What the name of a file says it is; JSON lines, if it says nothing."""
    return _SUFFIXES.get("" if path is None else path.suffix.lower(), "jsonl")


def rows(source: Source, form: Format) -> Iterator[Row]:
    """Each user of the file, or what is wrong in its place. Raises InvalidRequest if the file is none."""
    if form == "csv":
        return _csv(source)
    return _jsonl(source) if form == "jsonl" else _document(source)


def printable_name(name: object) -> str:
    """The name of a field, if it looks like one."""
    return name if isinstance(name, str) and _NAME.fullmatch(name) else "(something that is no name)"


def _lines(source: Source) -> Iterator[bytes | None]:
    """Lines with their ends; None for one that is longer than any user."""
    rest, skipping = b"", False
    for piece in source.pieces():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield None if skipping or len(line) > _MAX_LINE else line + b"\n"
            skipping = False
        if len(rest) > _MAX_LINE:
            rest, skipping = b"", True
    if rest or skipping:
        yield None if skipping else rest


def _jsonl(source: Source) -> Iterator[Row]:
    for number, line in enumerate(_lines(source), 1):
        if number == 1 and line is not None:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line is None:
            yield Row(number, problem=f"longer than {_MAX_LINE} bytes")
        elif line.strip():
            yield _object(number, line)


def _object(number: int, line: bytes) -> Row:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Row(number, problem="not JSON in UTF-8")
    return Row(number, found) if isinstance(found, dict) else Row(number, problem="not a JSON object")


def _csv(source: Source) -> Iterator[Row]:
    # What is no UTF-8 comes through as lone surrogates, so that it is the trouble of its own row alone.
    texts = ("" if line is None else line.decode("utf-8", "surrogateescape") for line in _lines(source))
    reader = csv.reader(texts, strict=True)
    try:
        header = next(reader, [])
    except csv.Error:
        raise InvalidRequest("the first line is no header of a CSV file") from None
    if header:
        header[0] = header[0].removeprefix("\ufeff")
    names = [name.strip() for name in header]
    if not names or len(set(names)) != len(names) or not all(map(_NAME.fullmatch, names)):
        raise InvalidRequest("the first line of a CSV file has to name the columns, each once")
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error:
            last = reader.line_num
            where = f"up to line {last} " if last > line else ""
            yield Row(line, problem=f"{where}not CSV: a quote that is not closed, or a field that is too long")
            continue
        if values is None:
            return
        if values:
            yield _record(line, names, values)


def _record(line: int, names: list[str], values: list[str]) -> Row:
    if len(values) != len(names):
        return Row(line, problem="not as many fields as there are columns")
    if any("\ud800" <= char <= "\udfff" for value in values if not value.isascii() for char in value):
        return Row(line, problem="not UTF-8")
    return Row(line, dict(zip(names, values, strict=True)))


class _Text:
    """A JSON document of which only what is being looked at is held."""

    def __init__(self, source: Source) -> None:
        self._pieces = source.pieces()
        self._held = b""  # the beginning of a character
        self._text, self._at = "", 0
        self._decoder = json.JSONDecoder()
        self._ended = False
        self.line = 1

    def peek(self) -> str:
        """The next character that is not white space; nothing at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._to(match.end() if match else self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, wanted: str) -> None:
        if self.peek() != wanted:
            raise InvalidRequest(f"line {self.line}: not the JSON of an export")
        self._to(self._at + 1)

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._at)
                if end < len(self._text) or not self._more():  # a number might go on
                    self._to(end)
                    return found
            except RecursionError:
                raise InvalidRequest(f"line {self.line}: not the JSON of an export") from None
            except ValueError:
                held = len(self._text) - self._at
                # As much again before the next try, or a long value would be tried for each piece of it.
                if held > _MAX_VALUE or not self._more(held):
                    raise InvalidRequest(f"line {self.line}: not the JSON of an export, or it breaks off") from None

    def _to(self, at: int) -> None:
        self.line += self._text.count("\n", self._at, at)
        self._at = at

    def _more(self, wanted: int = 1) -> bool:
        if self._ended:
            return False
        pieces, got = [self._text[self._at :]], 0
        while got < wanted:
            piece = next(self._pieces, None)
            if piece is None:
                self._ended = True
                break
            text, self._held = _decoded(self._held + piece)
            got += len(text)
            pieces.append(text)
        self._text, self._at = "".join(pieces), 0
        return got > 0


def _decoded(raw: bytes) -> tuple[str, bytes]:
    """The text of these bytes, but for a last character that is not complete."""
    for cut in range(4):
        try:
            return raw[: len(raw) - cut].decode(), raw[len(raw) - cut :]
        except UnicodeDecodeError:
            continue
    raise InvalidRequest("the file is not UTF-8")


def _document(source: Source) -> Iterator[Row]:
    """The objects of the list `users` in the outermost object; all else is passed over."""
    text = _Text(source)
    text.take("{")
    while text.peek() != "}":
        name = text.value()
        text.take(":")
        if name == "users" and text.peek() == "[":
            yield from _elements(text)
        else:
            text.value()
        if text.peek() != "}":
            text.take(",")
    text.take("}")


def _elements(text: _Text) -> Iterator[Row]:
    text.take("[")
    while text.peek() != "]":
        line = text.line
        found = text.value()
        yield Row(line, found) if isinstance(found, dict) else Row(line, problem="not a JSON object")
        if text.peek() != "]":
            text.take(",")
    text.take("]")
