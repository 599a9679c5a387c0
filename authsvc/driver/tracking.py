"""One connection on which a primary announces every change of the keys that an introspection depends on.

The store does this itself, with CLIENT TRACKING in broadcasting mode. The store announces each key that any connection
writes, deletes or renames, and each key that expires, is evicted or flushed. An announcement follows its change.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from redis.asyncio.connection import AbstractConnection

from authsvc.driver.deadline import store_call
from authsvc.driver.failures import driver_errors
from authsvc.driver.redis_py import address_of, on_announcement
from authsvc.driver.timeouts import Timeouts
from authsvc.driver.urls import HostPort
from authsvc.errors import StoreUnavailable
from authsvc.metrics import Metrics

# Without NOLOOP: this connection writes nothing, and a change by any other connection has to be announced.
_TRACK = ("CLIENT", "TRACKING", "ON", "BCAST")

# Called with the names of changed keys; None stands for all keys.
OnChange = Callable[[list[bytes] | None], None]


class Tracking:
    """Announcements of one server: `open` asks for them, `listen` reads them. All methods raise StoreUnavailable.

    prefixes: of the names of the keys to announce.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        prefixes: Sequence[str],
        on_change: OnChange,
        metrics: Metrics,
        timeouts: Timeouts,
    ) -> None:
        self._connection = connection
        self._prefixes = prefixes
        self._on_change = on_change
        self._metrics = metrics
        self._timeouts = timeouts
        self._answer: asyncio.Future[Any]

    @property
    def address(self) -> HostPort:
        return address_of(self._connection)

    async def open(self) -> None:
        """Connect, and return when every change from then on will be announced."""
        async with store_call(self._timeouts, self._metrics):
            await self._connection.connect()
            on_announcement(self._connection, _announcement)
            prefixes = (word for prefix in self._prefixes for word in ("PREFIX", prefix))
            await self._connection.send_command(*_TRACK, *prefixes)
            await self._connection.read_response()

    async def listen(self) -> None:
        """Pass on the announcements until the connection breaks."""
        with driver_errors(self._metrics):
            while True:
                # One message at a time. Otherwise redis-py reads on to the next reply by recursion, and a thousand
                # announcements before that reply exceed Python's limit.
                message = await self._connection.read_response(push_request=True, timeout=math.inf)
                if isinstance(message, _Announcement):
                    self._on_change(message.names)
                elif not self._answer.done():  # done: the caller has given up
                    self._answer.set_result(message)

    async def ask(self, *command: str) -> Any:
        """The reply on this very connection. `listen` has to be running; one call at a time.

        The store announces a change before it acknowledges the change to its writer. So all changes that were
        acknowledged before this call have been announced when it returns.
        """
        self._answer = asyncio.get_running_loop().create_future()
        with driver_errors(self._metrics):
            await self._connection.send_command(*command)
            return await self._answer

    async def check_role(self) -> None:
        # HELLO tells the role, which PING does not; and every user may call it, unlike ROLE.
        if (await self.ask("HELLO"))[b"role"] != b"master":
            raise StoreUnavailable("the primary has become a replica")

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)


class _Announcement(NamedTuple):
    names: list[bytes] | None


async def _announcement(message: list[Any]) -> _Announcement:
    return _Announcement(message[1])
