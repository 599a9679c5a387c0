"""The index of admins: who may administer the service, found without a walk over all keys.

The index may list too many: an entry is written before its record gives power, and it is dropped when a reader finds
that the record gives none. So every reader looks at the records too. A missing entry can only refuse a change that
needs another admin, never allow one.
"""

from collections.abc import AsyncIterator, Sequence

from authsvc.core.client import Client
from authsvc.core.user import User
from authsvc.driver.connection import Connection
from authsvc.errors import StoreUnavailable
from authsvc.store import keys
from authsvc.store.admin_entries import drop, enter
from authsvc.store.encoding import load
from authsvc.store.filled import Filled
from authsvc.store.lease import Lease

Admin = User | Client

PAGE = 100
# The names of users and clients. One pattern for both halves the time of the walk.
_NAMES = "[cu][ls][ei][er]*"


class Admins(Filled):
    """`admins:index`: `user:<sub>` and `client:<client_id>`, each with the time at which it was entered."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, names=_NAMES, filled=keys.ADMINS_FILLED, filling=keys.ADMINS_FILLING)

    def removal(self) -> Lease:
        """For one removal of an admin. Of two admins who remove each other, one has to see the change of the other."""
        return Lease(self._connection, keys.ADMINS_REMOVING)

    async def pages(self) -> AsyncIterator[list[Admin]]:
        """The records of all entries that give power, the newest entries first. Drops the entries that are stale."""
        start, stale = 0, list[str]()
        while page := await self._connection.call("ZRANGE", keys.ADMINS, start, start + PAGE - 1, "REV"):
            entries = [entry.decode() for entry in page]
            raws = await self._connection.batch([("GET", _key_of(entry)) for entry in entries])
            admins = list[Admin]()
            for entry, raw in zip(entries, raws, strict=True):
                record = _read(entry, raw) if raw else None
                if record is not None and record.admin_entry() == entry:
                    admins.append(record)
                elif record is not None or not raw:  # a newer version may find power in what this one can't read
                    stale.append(entry)
            yield admins
            start += PAGE
        await drop(self._connection, stale)

    async def _enter(self, names: Sequence[str], now: float) -> None:
        commands = [("GET", name) for name in names if name.startswith((keys.USER_PREFIX, keys.CLIENT_PREFIX))]
        *raws, _ = await self._connection.batch([*commands, self.lease.extension()])
        found = [_entry_of(name, raw) for (_, name), raw in zip(commands, raws, strict=True)]
        entries = [entry for entry in found if entry is not None]
        if entries:
            await enter(self._connection, entries)


def _entry_of(name: str, raw: bytes | None) -> str | None:
    if raw is None or b'"admin"' not in raw:  # the word of the role and of the permission; most records lack it
        return None
    record = _read(name, raw)
    return None if record is None else record.admin_entry()


def _read(name: str, raw: bytes) -> Admin | None:
    """The record under this key or entry; None if this version can't read it. Then it gives no power here."""
    try:
        return load(User, raw) if name.startswith(keys.USER_PREFIX) else load(Client, raw)
    except StoreUnavailable:
        return None


def _key_of(entry: str) -> str:
    kind, _, id_ = entry.partition(":")
    return keys.user(id_) if kind == "user" else keys.client(id_)
