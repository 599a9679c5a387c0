"""Work that one worker at a time may do: a key in the store that only one worker can make, and that ends by itself."""

from authsvc.driver.connection import Connection
from authsvc.driver.scripts import Command

# How long a worker may be silent before another worker begins its work.
LEASE_S = 30


class Lease:
    """The right to do the work behind a key. Methods raise StoreUnavailable."""

    def __init__(self, connection: Connection, key: str) -> None:
        self._connection = connection
        self._key = key

    async def take(self) -> bool:
        """Whether this worker may do the work now; no other worker does it meanwhile."""
        return bool(await self._connection.call("SET", self._key, "", "NX", "EX", LEASE_S))

    def extension(self) -> Command:
        """The command that gives the worker its whole time again."""
        return ("EXPIRE", self._key, LEASE_S)

    async def release(self) -> None:
        await self._connection.call("DEL", self._key)
