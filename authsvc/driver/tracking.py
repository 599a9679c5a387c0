"""One connection on which a primary announces every change of the keys that an introspection depends on.

The store does this itself (CLIENT TRACKING in its broadcasting mode), so it tells of whatever is written, deleted,
renamed, expired, evicted or flushed, by whomever, after the change and never without it.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from redis.asyncio.connection import AbstractConnection

from authsvc.driver.connection import answering, meaning
from authsvc.driver.node import Address, address_of
from authsvc.errors import StoreUnavailable
from authsvc.metrics import Metrics
from authsvc.store import keys

# No NOLOOP: this connection writes nothing, and a change is to be announced whoever made it.
_TRACK = ("CLIENT", "TRACKING", "ON", "BCAST")
_PREFIXES = (keys.SESSION_PREFIX, keys.USER_PREFIX, keys.CLIENT_PREFIX, keys.SERVICE)

# Names of changed keys; None: all of them.
Heard = Callable[[list[bytes] | None], None]


class Tracking:
    """A connection for listening, told to track by `open`, read by `listen`. All raise StoreUnavailable."""

    def __init__(self, connection: AbstractConnection, heard: Heard, metrics: Metrics) -> None:
        self._connection = connection
        self._metrics = metrics
        self._heard = heard
        self._answer: asyncio.Future[Any]

    @property
    def address(self) -> Address:
        return address_of(self._connection)

    async def open(self) -> None:
        """Connect, and return when every change from then on will be announced."""
        async with answering(self._metrics):
            await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
            # Without a handler redis-py drops announcements; there is no other way to set it.
            self._connection._parser.set_invalidation_push_handler(_announced)  # type: ignore[attr-defined]
            await self._connection.send_command(*_TRACK, *(word for name in _PREFIXES for word in ("PREFIX", name)))
            await self._connection.read_response()

    async def listen(self) -> None:
        """Pass on what is announced, until the connection breaks."""
        with meaning(self._metrics):
            while True:
                # One message at a time: otherwise redis-py reads on to the next reply by recursion, and a thousand
                # announcements before it are one level too deep.
                message = await self._connection.read_response(push_request=True, timeout=math.inf)
                if isinstance(message, _Announced):
                    self._heard(message.names)
                elif not self._answer.done():  # given up a moment ago
                    self._answer.set_result(message)

    async def ask(self, *command: str) -> Any:
        """The reply on this very connection; `listen` has to be running. One at a time.

        The store sends what it announces of a change before it acknowledges the change to who made it. So whatever was
        acknowledged before this was called has been heard when it returns.
        """
        self._answer = asyncio.get_running_loop().create_future()
        with meaning(self._metrics):
            await self._connection.send_command(*command)
            return await self._answer

    async def check_role(self) -> None:
        # Unlike PING it tells the role, and unlike ROLE everybody may call it.
        if (await self.ask("HELLO"))[b"role"] != b"master":
            raise StoreUnavailable("the primary has become a replica")

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)


class _Announced(NamedTuple):
    names: list[bytes] | None


async def _announced(message: list[Any]) -> _Announced:
    return _Announced(message[1])
