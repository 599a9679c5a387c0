"""The reads of introspection on one server. Many callers share them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError

from authsvc.driver.breaker import timed
from authsvc.driver.errors import DRIVER_ERRORS, unavailable
from authsvc.driver.node import Node
from authsvc.driver.redis_py import pack
from authsvc.driver.scripts import Command
from authsvc.errors import StoreUnavailable

# Replies that say to go to another node of a cluster, or to come again.
REDIRECTIONS = (MovedError, AskError, TryAgainError, ClusterDownError)

# The value of a key; None if the key is absent; StoreUnavailable if its node of a cluster does not answer.
Value = bytes | StoreUnavailable | None


class Reader(Protocol):
    """Reads keys for one caller at a time. Raises StoreUnavailable, as Connection does."""

    async def mget(self, wanted: Sequence[str], give_up_at: float) -> Sequence[Value]:
        """The values of these keys. give_up_at: on the event loop's clock."""

    async def close(self) -> None: ...


class NodeReader:
    """Reads from one server on a connection of its own.

    A pool checks, lends, times and takes back a connection for every command. For the reads of introspection that
    costs twice as much as the command itself.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._connection = node.new_connection()
        self._connection.socket_timeout = None  # one timer for the whole call instead

    async def mget(self, wanted: Sequence[str], give_up_at: float) -> Sequence[bytes | None]:
        """The values of these keys. give_up_at: on the event loop's clock."""
        return await self._read(self._mget, wanted, give_up_at)

    async def get_each(self, wanted: Sequence[str], give_up_at: float, *, asking: bool = False) -> list[Any]:
        """Each value, or the redirection in its place. In a cluster no command may name keys of two slots."""
        return await self._read(self._get_each_asking if asking else self._get_each, wanted, give_up_at)

    async def close(self) -> None:
        await self._connection.disconnect()

    async def _read(
        self, exchange: Callable[[Sequence[str]], Awaitable[list[Any]]], wanted: Sequence[str], give_up_at: float
    ) -> list[Any]:
        try:
            started = time.perf_counter()
            with timed(self._node.reads):
                async with asyncio.timeout_at(give_up_at):
                    try:
                        replies = await exchange(wanted)
                    except RedisConnectionError:  # the connection may have died while it was idle
                        await self._connection.disconnect(nowait=True)
                        replies = await exchange(wanted)
            self._node.metrics.round_trip.observe(time.perf_counter() - started, "lookup")
            return replies
        except BaseException as error:
            await self._connection.disconnect(nowait=True)  # or the next caller would read this one's reply
            if isinstance(error, DRIVER_ERRORS):
                raise unavailable(error, self._node.metrics) from error
            raise

    async def _mget(self, wanted: Sequence[str]) -> list[bytes | None]:
        if not self._connection.is_connected:
            await self._connect()
        await self._connection.send_packed_command(pack(("MGET", *wanted)), check_health=False)
        values: list[bytes | None] = await self._connection.read_response()
        return values

    async def _connect(self) -> None:
        await self._connection.connect()
        self._node.watch()

    async def _get_each(self, wanted: Sequence[str]) -> list[Any]:
        return await self._exchange([("GET", key) for key in wanted])

    async def _get_each_asking(self, wanted: Sequence[str]) -> list[Any]:
        return (await self._exchange([command for key in wanted for command in (("ASKING",), ("GET", key))]))[1::2]

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        if not self._connection.is_connected:
            await self._connect()
        await self._connection.send_packed_command(self._connection.pack_commands(commands))
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(await self._connection.read_response())
            except REDIRECTIONS as elsewhere:
                replies.append(elsewhere)
        return replies
