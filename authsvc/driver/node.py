"""One server that is written to and read from."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, ResponseError

from authsvc.driver.breaker import Breaker, timed
from authsvc.driver.diagnosis import locate
from authsvc.driver.durability import Durability
from authsvc.driver.pipe import Pipe
from authsvc.driver.redis_py import pack, place, pool_of
from authsvc.driver.rights import denied
from authsvc.driver.scripts import Command
from authsvc.driver.sentinel import SentinelPool, sentinel_pool
from authsvc.driver.timeouts import Timeouts
from authsvc.driver.urls import HostPort, StoreUrl
from authsvc.driver.watch import Watch
from authsvc.metrics import Metrics

_READS = {"GET", "MGET", "EXISTS", "PTTL", "SCAN", "ZRANGE", "XRANGE", "XREVRANGE"}


class Node:
    """The connections to one server, and whether it is worth trying. Methods raise StoreUnavailable, or redis-py's.

    A command may be sent twice, when the connection broke before its reply: all commands used are harmless then.
    """

    def __init__(
        self,
        pool: BlockingConnectionPool,
        metrics: Metrics,
        timeouts: Timeouts,
        reply_s: float,
        in_sync_replicas: int = 0,
    ) -> None:
        self._pool = pool
        self.metrics = metrics
        self.timeouts = timeouts
        self._reply_s = reply_s
        # A server that fails over, or has lost its replicas, may answer reads and hang on writes.
        self.reads, self.writes = Breaker(metrics), Breaker(metrics)
        self._watch = Watch(pool, (self.reads, self.writes), self.drop, timeouts, in_sync_replicas)
        self._places = asyncio.Semaphore(pool.max_connections)
        self._pipes: list[Pipe] = []

    @classmethod
    def at(
        cls, address: HostPort | None, url: StoreUrl, durability: Durability, metrics: Metrics, timeouts: Timeouts
    ) -> Self:
        """The server at this address; None: at the Unix socket of the URL."""
        return cls(pool_of(url, address, timeouts), metrics, timeouts, timeouts.reply_s + durability.wait_s)

    @classmethod
    def behind_sentinels(cls, url: StoreUrl, durability: Durability, metrics: Metrics, timeouts: Timeouts) -> Self:
        """The server that the sentinels call the primary when a connection is made."""
        pool, reply_s = sentinel_pool(url, timeouts), timeouts.reply_s + durability.wait_s
        return cls(pool, metrics, timeouts, reply_s, durability.in_sync_replicas)

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands on one connection, in one round trip. A refusal of the server stands in its reply's place."""
        breaker = self.reads if all(command[0] in _READS for command in commands) else self.writes
        self.watch()
        started = time.perf_counter()
        # The wait for a place comes before the time that the breaker counts: it says that we have too many calls, not
        # that the server is ill.
        await self._take_place()
        try:
            with timed(breaker):
                replies = await self._send(commands)
        finally:
            self._places.release()
        self.metrics.round_trip.observe(time.perf_counter() - started, "call")
        for reply in replies:
            if isinstance(reply, ReadOnlyError | MasterDownError):  # the server was demoted after we connected
                await self.drop()
                break
        return replies

    async def _take_place(self) -> None:
        """Wait until a connection of the pool is free."""
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(self.timeouts.pool_s):
                await self._places.acquire()
        except TimeoutError as error:
            raise RedisConnectionError("no connection is free") from error

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        # redis-py's client and its pipeline take twice as long for this, which was a third of the cost of a login.
        packed = b"".join([pack(command) for command in commands])
        connection: AbstractConnection = await self._pool.get_connection()
        try:
            try:
                return await self._exchange(connection, packed, len(commands))
            except RedisConnectionError:  # the connection may have died while it was idle
                await connection.disconnect(nowait=True)
                return await self._exchange(connection, packed, len(commands))
        except BaseException as error:
            locate(error, place(connection))
            await connection.disconnect(nowait=True)  # or the next borrower would read these replies
            raise
        finally:
            await self._pool.release(connection)

    async def _exchange(self, connection: AbstractConnection, packed: bytes, count: int) -> list[Any]:
        if not connection.is_connected:
            await connection.connect()
        replies: list[Any] = []
        async with asyncio.timeout(self._reply_s):  # one timer for all replies; redis-py has one for each
            await connection.send_packed_command(packed, check_health=False)
            while len(replies) < count:
                try:
                    replies.append(await connection.read_response())
                except ResponseError as refusal:
                    locate(refusal, place(connection))
                    replies.append(refusal)
        return replies

    def new_pipe(self) -> Pipe:
        """A connection besides the pool, for a caller who reads all the time. `drop` drops it with the others."""
        pipe = Pipe(self._pool.make_connection(), self.reads, self.metrics, self.watch, self.timeouts.call_s)
        self._pipes.append(pipe)
        return pipe

    def new_listener(self) -> AbstractConnection:
        """A connection for announcements. They take RESP3."""
        options = self._pool.connection_kwargs | {"protocol": 3, "client_name": "authsvc-events"}
        connection: AbstractConnection = self._pool.connection_class(**options)
        return connection

    async def denied(self, commands: Mapping[str, Command], patterns: Mapping[str, Command]) -> list[str]:
        """The names of what the server's ACL denies us. See `rights.denied`."""
        try:
            return await self._denied(commands, patterns)
        except RedisConnectionError:
            return await self._denied(commands, patterns)

    async def _denied(self, commands: Mapping[str, Command], patterns: Mapping[str, Command]) -> list[str]:
        connection: AbstractConnection = self._pool.make_connection()
        try:
            async with asyncio.timeout(self._reply_s):
                return await denied(connection, commands, patterns)
        finally:
            await connection.disconnect(nowait=True)

    def watch(self) -> None:
        """Look, from now on, whether the server is still the primary."""
        self._watch.start()

    async def is_named(self, address: HostPort) -> bool:
        """Whether the sentinels call this server the primary; without sentinels the server's own word is enough."""
        return not isinstance(self._pool, SentinelPool) or await self._pool.is_named(address)

    async def drop(self) -> None:
        """Close every connection. The next ones lead to the server that is the primary then."""
        for pipe in self._pipes:
            pipe.drop()
        await self._pool.update_active_connections_for_reconnect()
        await self._pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        self.reads.close()
        self.writes.close()
        await self._watch.close()
        for pipe in self._pipes:
            await pipe.close()
        await self._pool.aclose()
