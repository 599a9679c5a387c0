"""Reads the users of an export that is one JSON document of any size, as Keycloak and Firebase write it.

A row has the number of its user in the list: a parser that reads piece by piece tells no lines.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import chain
from types import ModuleType
from typing import Any, Final

from authsvc.cli.imports.files import InputFile
from authsvc.errors import InvalidRequest
from authsvc.flows.import_users import Row

# The most that one user, or one other member of the document, may hold.
MAX_VALUE: Final = 16 * 1024 * 1024
MAX_DEPTH: Final = 100
_PIECE: Final = 64 * 1024

# An event of the parser, such as `map_key`, and the key or the value that belongs to the event.
Event = tuple[str, Any]


def document_rows(file: InputFile) -> Iterator[Row]:
    """The objects of the list `users` in the outermost object. Raises InvalidRequest, at once if ijson is missing."""
    return _rows(_ijson(), file)


def _ijson() -> ModuleType:
    try:
        return import_module("ijson")
    except ModuleNotFoundError:
        raise InvalidRequest(
            "one JSON document needs ijson: pip install '/path/to/authsvc[import]' (docs/install.md)"
        ) from None


def _rows(ijson: ModuleType, file: InputFile) -> Iterator[Row]:
    bounded = _BoundedFile(file)
    number = 0
    try:
        users = _users(ijson.basic_parse(bounded, buf_size=_PIECE), ijson.ObjectBuilder, bounded.value_begins)
        for number, user in enumerate(users, 1):
            yield Row(number, user) if isinstance(user, dict) else Row(number, problem="not a JSON object")
    except (ijson.JSONError, _NoDocument):
        where = f" after user {number}" if number else ""
        raise InvalidRequest(f"not a JSON document with a list of users, or it breaks off{where}") from None


class _NoDocument(Exception):
    """The document is JSON of another kind, or a value in it is too large or nested too deeply."""


class _BoundedFile:
    """A file that refuses to be read on when one value has more than MAX_VALUE bytes."""

    def __init__(self, file: InputFile) -> None:
        self._file = file
        self._began = 0

    def value_begins(self) -> None:
        self._began = self._file.read_bytes

    def read(self, size: int) -> bytes:
        if self._file.read_bytes - self._began > MAX_VALUE:
            raise _NoDocument
        return self._file.read(size)


def _users(events: Iterator[Event], builder: Callable[[], Any], value_begins: Callable[[], None]) -> Iterator[Any]:
    """Each member of the list `users`. `value_begins` is called before each value that is read as a whole."""
    if next(events)[0] != "start_map":
        raise _NoDocument
    for event, key in events:
        if event == "end_map":  # of the document; the parser has yet to see that nothing follows
            continue
        value_begins()
        first = next(events)
        if key != "users" or first[0] != "start_array":
            _value(first, events, builder())
            continue
        for member in events:
            if member[0] == "end_array":
                break
            value_begins()
            yield _value(member, events, builder())


def _value(first: Event, following: Iterator[Event], builder: Any) -> Any:
    """The value that begins with the first event. The other events of the value come from `following`."""
    depth = 0
    for event, value in chain([first], following):
        builder.event(event, value)
        if event in ("start_map", "start_array"):
            depth += 1
        elif event in ("end_map", "end_array"):
            depth -= 1
        if depth == 0:
            break
        if depth > MAX_DEPTH:
            raise _NoDocument
    return builder.value
