"""Typed access to records of one kind: find, create, compare-and-swap, delete."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from authsvc.core.record import Record
from authsvc.driver.connection import MAX_CONTENTION, Change, Connection, stamped
from authsvc.errors import CorruptRecord, NotFound, StoreUnavailable

R = TypeVar("R", bound=Record)


# What decoding a damaged record raises.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)


def load(model: type[R], raw: bytes) -> R:
    """Parse a stored record. Raises CorruptRecord: a record nobody can read decides nothing."""
    try:
        return msgspec.json.decode(raw, type=model)
    except UNREADABLE as error:
        raise CorruptRecord(f"a stored {model.__name__.lower()} does not parse") from error


def load_if(model: type[R], raw: bytes | None) -> R | None:
    return None if raw is None else load(model, raw)


def dump(record: Record) -> bytes:
    return stamped(record.to_json())


class Records(Generic[R]):
    """The records of one model, each at `key(id)`."""

    def __init__(self, connection: Connection, model: type[R], key: Callable[[str], str]) -> None:
        self._connection = connection
        self._model = model
        self.key = key

    async def find(self, id_: str) -> R | None:
        return load_if(self._model, await self._connection.call("GET", self.key(id_)))

    async def find_all(self, ids: Sequence[str]) -> list[R | None]:
        if not ids:
            return []
        raws = await self._connection.batch([("GET", self.key(id_)) for id_ in ids])
        return [load_if(self._model, raw) for raw in raws]

    async def get(self, id_: str) -> R:
        """Like find, but raises NotFound."""
        record = await self.find(id_)
        if record is None:
            raise NotFound(f"no such {self._model.__name__.lower()}")
        return record

    async def create(self, id_: str, record: R) -> bool:
        """Store a new record; False if there is one already."""
        return await self._connection.create(self.key(id_), dump(record), record.expires_at())

    async def swap(self, id_: str, change: Callable[[R], R | None], *, durable: bool = True) -> R | None:
        """Replace the record by what `change` makes of it, None deleting it; again, if somebody else was faster.

        Returns what is stored afterwards. What `change` raises leaves the record alone. durable: whether losing the
        change would harm anybody; losing a deletion always would. Raises NotFound, NotDurable.
        """
        key = self.key(id_)
        for _ in range(MAX_CONTENTION):
            raw = await self._connection.call("GET", key)
            if raw is None:
                raise NotFound(f"no such {self._model.__name__.lower()}")
            old = load(self._model, raw)
            new = change(old)
            # One that has been made already is written again if it has to last: its maker may have had no such luck.
            if new is old and not (durable and self._connection.waits):
                return old
            written = b"" if new is None else raw if new is old else dump(new)
            changes = [Change(key, raw, written, None if new is None else new.expires_at())]
            if await self._connection.swap(changes, durable=durable or new is None):
                return new
        raise StoreUnavailable("a record is changed by too many at once")

    async def change(self, id_: str, change: Callable[[R], R]) -> R:
        """Like swap, for a change that never deletes."""
        changed = await self.swap(id_, change)
        if changed is None:
            raise NotFound(f"no such {self._model.__name__.lower()}")
        return changed

    async def delete(self, id_: str) -> bool:
        """Delete the record; False if there was none (or a first attempt of ours had already removed it).

        Raises NotDurable.
        """
        return bool(await self._connection.delete(self.key(id_)))

    async def ensure_absent(self, id_: str) -> None:
        """To be done before somebody who wants it gone is told that there is none. Raises NotDurable."""
        await self._connection.ensure_absent(self.key(id_))

    async def get_to_delete(self, id_: str) -> R:
        """Like get; what raises NotFound stays gone. Raises NotDurable."""
        try:
            return await self.get(id_)
        except NotFound:
            await self.ensure_absent(id_)
            raise
