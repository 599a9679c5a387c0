"""Work that one worker at a time may do: a key in the store that only one worker can make, and that ends by itself."""

import secrets

from authsvc.driver.connection import Connection
from authsvc.driver.deadline import request_budget
from authsvc.driver.scripts import Change, Command

# How long a worker may be silent before another worker begins its work.
LEASE_S = 30


class Lease:
    """The right to do the work behind a key. Methods raise StoreUnavailable."""

    def __init__(self, connection: Connection, key: str) -> None:
        self._connection = connection
        self._key = key
        self._holder = b"nobody"

    async def take(self) -> bool:
        """Whether this caller may do the work now; nobody else does it meanwhile."""
        holder = secrets.token_hex(8).encode()
        # From here on, because the store may have taken the key although its reply got lost.
        previous, self._holder = self._holder, holder
        # The command may be sent twice. Then the second reply has the value of the first one.
        held = await self._connection.call("SET", self._key, holder, "NX", "GET", "EX", LEASE_S)
        if held is None or held == holder:
            return True
        self._holder = previous
        return False

    def extension(self) -> Command:
        """The command that gives the worker its whole time again."""
        return ("EXPIRE", self._key, LEASE_S)

    async def release(self) -> None:
        """Let others do the work at once. The time of a request that did it may be over, so this has its own."""
        with request_budget(None):
            await self._connection.swap([Change(self._key, self._holder, b"")], durable=False)
