"""Filling the indexes of users and sessions, by a walk over all keys: for stores and workers from before them."""

import asyncio
from collections.abc import Sequence

from authsvc.core.session import Session
from authsvc.core.user import User
from authsvc.driver.connection import Connection
from authsvc.errors import StoreUnavailable
from authsvc.store import keys
from authsvc.store.directory import KINDS, Directory, Span, entries_of, sub_in
from authsvc.store.encoding import load
from authsvc.store.filled import STEP, Filled
from authsvc.store.newest import Newest

# The names of users and sessions.
_NAMES = "[us]*"


class Indexes(Filled):
    """`index:users` and `index:sessions…`, as they are filled. Methods raise StoreUnavailable."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, names=_NAMES, filled=keys.INDEX_FILLED, filling=keys.INDEX_FILLING)
        self._users = Directory(connection)
        self._newest = Newest(connection)

    async def fill(self, now: float, *, pause_s: float = 0) -> None:
        """Drop entries of users that are gone or have changed, and enter all users and the newest sessions.

        Entries are dropped first: an entry that is dropped while its record is being written is entered by the walk.
        """
        for kind in KINDS:
            await self._drop_stale(kind, pause_s)
        await super().fill(now, pause_s=pause_s)

    async def _drop_stale(self, kind: str, pause_s: float) -> None:
        span = Span(kind)
        while entries := await self._users.read(span, STEP):
            raws = await self._connection.values([keys.user(sub_in(entry)) for entry in entries])
            stale = [entry for entry, raw in zip(entries, raws, strict=True) if _is_stale(entry, raw)]
            await self._users.leave(stale)
            await self._connection.batch([self.lease.extension()])
            span = span._replace(after=entries[-1])
            await asyncio.sleep(pause_s)

    async def _enter(self, names: Sequence[str], now: float) -> None:
        wanted = [name for name in names if name.startswith((keys.USER_PREFIX, keys.SESSION_PREFIX))]
        raws = await self._connection.values(wanted)
        users: list[User] = []
        sessions: dict[str, Session] = {}
        for name, raw in zip(wanted, raws, strict=True):
            if raw is None:
                continue
            try:
                if name.startswith(keys.USER_PREFIX):
                    users.append(load(User, raw))
                else:
                    sessions[name.removeprefix(keys.SESSION_PREFIX)] = load(Session, raw)
            except StoreUnavailable:  # this version can't read the record, and shows it in no list
                continue
        await self._users.enter(users)
        await self._newest.enter(
            {handle: one for handle, one in sessions.items() if one.token_use is None and not one.ended(now)}
        )
        await self._connection.batch([self.lease.extension()])


def _is_stale(entry: str, raw: bytes | None) -> bool:
    try:
        return raw is None or entry not in entries_of(load(User, raw))
    except StoreUnavailable:
        return False
