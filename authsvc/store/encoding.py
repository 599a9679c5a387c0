"""Records to and from the JSON in the store, in the formats that this version and the store allow.

Workers of two versions share a store during an upgrade. A write therefore keeps the members that only the newer version
knows, and a record in a newer format is neither read nor written.
"""

import logging
from functools import cache
from typing import Any, TypeVar

import msgspec

from authsvc.core.record import FORMAT, UNKNOWN, Part, Record, Service
from authsvc.driver.connection import Connection
from authsvc.driver.scripts import stamped
from authsvc.errors import CorruptRecord, FormatNotAllowed, NewerFormat, StoreUnavailable
from authsvc.store import keys
from authsvc.store.admin_entries import enter

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)
P = TypeVar("P", bound=Part)

# The exceptions of decoding a record that this version cannot read.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)
# The member that `stamped` adds to each write.
_WRITE_ID = "w"
_UNKNOWN = b'"%s":' % UNKNOWN.encode()


class Unknown(dict[str, Any]):
    """Members that only a newer version knows. They may be secret, so no `repr` shows them."""

    def __repr__(self) -> str:
        return f"<{len(self)} unknown members>"


class _OnlyFormat(msgspec.Struct):
    v: int = 1


def load(model: type[R], raw: bytes) -> R:
    """Parse a stored record. Raises CorruptRecord and NewerFormat: an unreadable record decides nothing."""
    try:
        return msgspec.json.decode(raw, type=model)
    except UNREADABLE as error:
        raise unreadable(raw, model.__name__.lower()) from error


def load_if(model: type[R], raw: bytes | None) -> R | None:
    return None if raw is None else load(model, raw)


def load_to_change(model: type[R], raw: bytes) -> R:
    """Parse a record that is about to be replaced, with the members that this version does not know."""
    return _with_unknown(load(model, raw), msgspec.json.decode(raw))


def unreadable(raw: bytes, kind: str = "record") -> StoreUnavailable:
    """Why a record does not parse: a newer version has written it, or it is damaged."""
    try:
        found = msgspec.json.decode(raw, type=_OnlyFormat).v
    except UNREADABLE:
        found = 1
    if found <= FORMAT:
        return CorruptRecord(f"a stored {kind} does not parse")
    _log_newer(found)
    return NewerFormat(found, FORMAT)


@cache
def _log_newer(found: int) -> None:
    """Log the first record of each newer format, and no other: every request could meet one."""
    log.error("refused a record of format %d: this version understands up to %d, run a newer one", found, FORMAT)


class Encoder:
    """Writes records as JSON, in a newer format only where the store's format allows it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._allowed = 1

    async def encode(self, record: Record, *, instead_of: Record | None = None) -> bytes:
        """The bytes to store, with a write id that makes them unlike those of any other write.

        instead_of: the record that this one replaces, whose unknown members are kept. Raises FormatNotAllowed.
        """
        return stamped(await self.encode_unique(record, instead_of=instead_of))

    async def encode_unique(self, record: Record, *, instead_of: Record | None = None) -> bytes:
        """Like `encode`, for a record that is unlike any other by itself, and needs no write id."""
        await self._enter_admin(record, instead_of)
        if instead_of is not None and record.unknown is None:
            record = record.but(unknown=instead_of.unknown)
        needed = record.needs_format()
        if needed != record.v:
            record = record.but(v=needed)
        if needed > self._allowed:
            await self._ask_for(needed)
        encoded = record.to_json()
        # The bytes may also stand in a user's claims; then the slow way writes the same JSON.
        return _with_members_of(record) if _UNKNOWN in encoded else encoded

    async def _enter_admin(self, record: Record, instead_of: Record | None) -> None:
        """Enter a new admin into the index of admins. Every writer encodes, so the entry is there before the record."""
        entry = record.admin_entry()
        if entry is not None and (instead_of is None or instead_of.admin_entry() is None):
            await enter(self._connection, [entry])

    async def _ask_for(self, needed: int) -> None:
        """Read how far an operator has raised the store's format. It never falls, so that the answer stays good."""
        service = load_if(Service, await self._connection.call("GET", keys.SERVICE))
        self._allowed = service.store_format if service else 1
        if needed > self._allowed:
            raise FormatNotAllowed(needed, self._allowed)


def _with_unknown(part: P, members: dict[str, Any]) -> P:
    """The same record or part, with the members that its model does not know, at every level."""
    rest = dict(members)
    changes: dict[str, Any] = {}
    for name, key in zip(part.__struct_fields__, part.__struct_encode_fields__, strict=True):
        if key in rest:
            held = getattr(part, name)
            value = _nested(held, rest.pop(key))
            if value is not held:
                changes[name] = value
    rest.pop(_WRITE_ID, None)
    if rest:
        changes["unknown"] = Unknown(rest)
    return part.but(**changes) if changes else part


def _nested(value: Any, member: Any) -> Any:
    if isinstance(value, Part):
        return _with_unknown(value, member)
    if type(value) is tuple and any(isinstance(item, Part) for item in value):
        return tuple(map(_nested, value, member))
    return value


def _with_members_of(record: Record) -> bytes:
    members = msgspec.to_builtins(record)
    _put_back(record, members)
    return msgspec.json.encode(members)


def _put_back(part: Any, members: Any) -> None:
    """Replace each part's `unknown` by what it holds."""
    if isinstance(part, Part):
        for name, key in zip(part.__struct_fields__, part.__struct_encode_fields__, strict=True):
            if key in members:
                _put_back(getattr(part, name), members[key])
        members.pop(UNKNOWN, None)
        for key, value in (part.unknown or {}).items():
            members.setdefault(key, value)
    elif type(part) is tuple:
        for item, member in zip(part, members, strict=True):
            _put_back(item, member)
