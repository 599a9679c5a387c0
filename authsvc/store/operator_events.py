"""How far the service's log has the events of the command line: one worker at a time writes those that it lacks.

A command runs in a process of its own, so its events reach the service through the audit trail. `admins:logged` is the
id of the last entry of the trail that was looked at. It moves after the lines are written: a worker that is killed in
between leaves lines to be written twice, never none.
"""

from typing import NamedTuple

from authsvc.driver.connection import Connection
from authsvc.store import keys
from authsvc.store.audit import Audit, StoredEntry
from authsvc.store.lease import Lease

OPERATOR = "operator"


class Unlogged(NamedTuple):
    """Events of the command line, oldest first. upto: the id of the newest entry of the trail."""

    entries: list[StoredEntry]
    upto: str


class OperatorEvents:
    """The events of the command line that the service's log lacks. Methods raise StoreUnavailable."""

    def __init__(self, connection: Connection, audit: Audit) -> None:
        self._connection = connection
        self._audit = audit
        self.lease = Lease(connection, keys.ADMINS_LOGGING)

    async def is_behind(self) -> bool:
        """Whether the trail has entries that nobody has looked at."""
        newest, _ = await self._audit.page(limit=1)
        return bool(newest) and newest[0].id != await self._logged()

    async def unlogged(self) -> Unlogged:
        """What the log lacks. A service that was never asked before has looked at no entry."""
        logged = await self._logged()
        entries: list[StoredEntry] = []
        upto = logged
        async for stored in self._audit.backwards(after=logged):
            if upto == logged:
                upto = stored.id
            if stored.entry.actor == OPERATOR:
                entries.append(stored)
        return Unlogged(entries[::-1], upto)

    async def set_logged(self, upto: str) -> None:
        await self._connection.call("SET", keys.ADMINS_LOGGED, upto)

    async def _logged(self) -> str:
        raw = await self._connection.call("GET", keys.ADMINS_LOGGED)
        return "0-0" if raw is None else raw.decode()
