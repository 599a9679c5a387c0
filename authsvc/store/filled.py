"""What the indexes share that a walk over all keys fills: the walk, its lease, and since when the index is complete."""

import asyncio
from collections.abc import Sequence

from authsvc.driver.connection import Connection
from authsvc.store.lease import Lease

# How many keys, or entries, one step looks at. Each step extends the lease.
STEP = 1000


class Filled:
    """An index that each start fills, for stores and workers from before it. Methods raise StoreUnavailable.

    names: the pattern of the keys that the walk looks at. filled, filling: the keys of its time and of its lease.
    """

    def __init__(self, connection: Connection, *, names: str, filled: str, filling: str) -> None:
        self._connection = connection
        self._names = names
        self._filled = filled
        self.lease = Lease(connection, filling)

    async def filled_at(self) -> float | None:
        """When the last walk began that entered everything; None: there was none, so entries may be missing."""
        raw = await self._connection.call("GET", self._filled)
        return None if raw is None else float(raw)

    async def fill(self, now: float, *, pause_s: float = 0) -> None:
        """Enter everything that there is. A walk that breaks off leaves what it entered.

        pause_s: between two steps, to leave time for others.
        """
        position = "0"
        while True:
            position, names = await self._connection.scan(position, self._names, STEP)
            await self._enter([name.decode() for name in names], now)
            if position == "0":
                break
            await asyncio.sleep(pause_s)
        await self._connection.call("SET", self._filled, str(now))

    async def _enter(self, names: Sequence[str], now: float) -> None:
        """Enter the records at some of the keys, and extend the lease."""
        raise NotImplementedError
