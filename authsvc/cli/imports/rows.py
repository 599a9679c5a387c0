"""Reads a file of users row by row, however large it is: CSV, JSON lines, or one JSON document."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from authsvc.cli.imports.document import document_rows
from authsvc.cli.imports.files import InputFile
from authsvc.errors import InvalidRequest
from authsvc.flows.import_users import Row

Format = Literal["csv", "jsonl", "document"]

MAX_LINE: Final = 1024 * 1024
_SUFFIXES: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
# Messages repeat only names of this form. In a file without its header line, the "name" of a column is a password hash.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")


def format_of(path: Path | None) -> Format:
    """The format that the name of the file tells; by default JSON lines."""
    return _SUFFIXES.get("" if path is None else path.suffix.lower(), "jsonl")


def rows(file: InputFile, form: Format) -> Iterator[Row]:
    """Each user of the file, or what is wrong in its place. Raises InvalidRequest if the file has another format."""
    if form == "csv":
        return _csv(file)
    return _jsonl(file) if form == "jsonl" else document_rows(file)


def printable_name(name: object) -> str:
    """The name of a field, if it looks like one."""
    return name if isinstance(name, str) and _NAME.fullmatch(name) else "(something that is no name)"


def _lines(file: InputFile) -> Iterator[bytes | None]:
    """Lines with their ends; None in place of a line that is longer than any user."""
    rest, skipping = b"", False
    for piece in file.pieces():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield None if skipping or len(line) > MAX_LINE else line + b"\n"
            skipping = False
        if len(rest) > MAX_LINE:
            rest, skipping = b"", True
    if rest or skipping:
        yield None if skipping else rest


def _jsonl(file: InputFile) -> Iterator[Row]:
    for number, line in enumerate(_lines(file), 1):
        if number == 1 and line is not None:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line is None:
            yield Row(number, problem=f"longer than {MAX_LINE} bytes")
        elif line.strip():
            yield _object(number, line)


def _object(number: int, line: bytes) -> Row:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Row(number, problem="not JSON in UTF-8")
    return Row(number, found) if isinstance(found, dict) else Row(number, problem="not a JSON object")


def _csv(file: InputFile) -> Iterator[Row]:
    # Bytes that are not UTF-8 become lone surrogates here, so that only their own row is refused.
    texts = ("" if line is None else line.decode("utf-8", "surrogateescape") for line in _lines(file))
    reader = csv.reader(texts, strict=True)
    try:
        header = next(reader, [])
    except csv.Error:
        raise InvalidRequest("the first line is no header of a CSV file") from None
    names = _column_names(header)
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


def _column_names(header: list[str]) -> list[str]:
    if header:
        header = [header[0].removeprefix("\ufeff"), *header[1:]]
    names = [name.strip() for name in header]
    if not names or len(set(names)) != len(names) or not all(map(_NAME.fullmatch, names)):
        raise InvalidRequest("the first line of a CSV file has to name the columns, each once")
    return names


def _record(line: int, names: list[str], values: list[str]) -> Row:
    if len(values) != len(names):
        return Row(line, problem="not as many fields as there are columns")
    if any("\ud800" <= char <= "\udfff" for value in values if not value.isascii() for char in value):
        return Row(line, problem="not UTF-8")
    return Row(line, dict(zip(names, values, strict=True)))
