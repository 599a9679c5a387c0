"""One server that is written to and read from: its connections, whether it is worth trying, and still the primary."""

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any

import hiredis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig
from redis.utils import str_if_bytes

from authsvc.driver.breaker import Breaker, timed
from authsvc.driver.urls import StoreUrl
from authsvc.metrics import Metrics

log = logging.getLogger(__name__)

_READS = {"GET", "MGET", "EXISTS", "PTTL", "SCAN", "ZRANGE", "XRANGE", "XREVRANGE"}

Command = tuple[str | bytes | int, ...]
Address = tuple[str, int]

CONNECT_TIMEOUT_S = 0.5
REPLY_TIMEOUT_S = 0.5
# A sentinel that is down must leave time for the next.
SENTINEL_TIMEOUT_S = 0.2
MAX_CONNECTIONS = 50
# How long it can go unnoticed that another server has become the primary, if this one does not say so itself.
WATCH_S = 1.0
# How long somebody's word that it is the primary is good for, where one is needed. A look takes WATCH_S, and a second
# or two more when others don't answer.
VOUCHED_S = 5.0
# A replica acknowledges once a second; the word of one that has not for longer than this is not its own any more.
REPLICA_LAG_S = 2
# Calls wait this long for a connection of the pool.
POOL_TIMEOUT_S = 0.5


class NotPrimary(RedisConnectionError):
    """The server is a replica, which may lag: a revoked token would still be alive there."""


class _OnPrimary(AbstractConnection):
    """Makes sure, each time it connects, that the server is a primary."""

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        await check_role(self)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:  # what uvloop raises for a connection that was reset, where asyncio says so
            await self.disconnect(nowait=True)
            raise RedisConnectionError("the connection was reset") from error


def address_of(connection: AbstractConnection) -> Address:
    """Of what speaks TCP; nobody asks for another."""
    return getattr(connection, "host", ""), getattr(connection, "port", 0)


async def check_role(connection: AbstractConnection) -> None:
    """Raise NotPrimary unless the server says that it is one."""
    await connection.send_command("ROLE", check_health=False)
    role = await connection.read_response()
    if role[0] != b"master":
        where = connection._host_error()  # it has no public way to the address
        log.warning("the server at %s is a replica: nothing is read from it, nor written to it", where)
        raise NotPrimary("REPLICA")


class _Tcp(_OnPrimary, Connection):
    pass


class _Tls(_OnPrimary, SSLConnection):
    pass


class _Unix(_OnPrimary, UnixDomainSocketConnection):
    pass


class _BehindSentinel(_OnPrimary, SentinelManagedConnection):
    pass


class _TlsBehindSentinel(_OnPrimary, SentinelManagedSSLConnection):
    pass


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Asks the sentinels for the primary whenever it connects."""


class _Sentinels(Sentinel):
    """Puts the sentinel that answered first, and loses none.

    redis-py swaps two places of the list that it found before it waited; when several ask at once, one sentinel is in
    the list twice and another no longer, for good.
    """

    async def discover_master(self, service_name: str) -> Address:
        everyone = tuple(self.sentinels)
        try:
            found: Address = await super().discover_master(service_name)
            return found
        finally:
            self.sentinels[:] = dict.fromkeys((*self.sentinels, *everyone))


class Node:
    """Every method raises StoreUnavailable when it could not get an answer.

    A command may be sent twice, when the connection broke before its reply: all commands used are harmless then.

    vouching: behind sentinels it is asked for nothing unless most of them call it the primary, or that many replicas
    acknowledge what it sends. One that is cut off together with us has neither, and may have been replaced. 0: its own
    word is enough.
    """

    def __init__(
        self, pool: BlockingConnectionPool, reply_timeout_s: float, metrics: Metrics, vouching: int = 0
    ) -> None:
        self._pool = pool
        self.metrics = metrics
        self._reply_timeout_s = reply_timeout_s
        self._vouching = vouching
        # A server that is failing over, or has lost its replicas, may answer the ones and not the others.
        self.reads, self.writes = Breaker(metrics), Breaker(metrics)
        self._lanes: list[AbstractConnection] = []
        self._watching: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    def at(cls, url: StoreUrl, host: tuple[str, int] | None, reply_timeout_s: float, metrics: Metrics) -> "Node":
        """The server with this address; None: at the unix socket."""
        kind = url.options.get("connection_class", Connection)
        made = {Connection: _Tcp, SSLConnection: _Tls, UnixDomainSocketConnection: _Unix}[kind]
        where = {} if host is None else {"host": host[0], "port": host[1]}
        return cls(BlockingConnectionPool(**_options(url.options | where, made)), reply_timeout_s, metrics)

    @classmethod
    def behind(cls, url: StoreUrl, reply_timeout_s: float, metrics: Metrics, vouching: int) -> "Node":
        """Whichever server the sentinels call the primary when it is connected to."""
        tls = url.options.get("connection_class") is SSLConnection
        made = _TlsBehindSentinel if tls else _BehindSentinel
        theirs = {name: value for name, value in url.sentinel_options.items() if name != "connection_class"}
        sentinel = _Sentinels(  # type: ignore[no-untyped-call]  # redis-py has no types here
            url.hosts,
            sentinel_kwargs=theirs
            | {
                "ssl": tls,
                "socket_timeout": SENTINEL_TIMEOUT_S,
                "socket_connect_timeout": SENTINEL_TIMEOUT_S,
                "retry": _retry(0),
            },
        )
        pool = _SentinelPool(url.service, sentinel, **_options(url.options, made))  # type: ignore[no-untyped-call]  # as above
        return cls(pool, reply_timeout_s, metrics, vouching)

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands on one connection, in one round trip. A refusal of the server is in the place of its reply."""
        breaker = self.reads if all(command[0] in _READS for command in commands) else self.writes
        self.watch()
        started = time.perf_counter()
        with timed(breaker):
            replies = await self._send(commands)
        self.metrics.round_trip.observe(time.perf_counter() - started, "call")
        for reply in replies:
            if isinstance(reply, ReadOnlyError | MasterDownError):  # it was demoted under us
                await self.drop()
                break
        return replies

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        # redis-py's client and its pipeline take twice as long for this, which was a third of what a login costs.
        packed = b"".join([hiredis.pack_command(command) for command in commands])  # type: ignore[arg-type]  # its stub says tuple[X]
        connection: AbstractConnection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # as above
        try:
            try:
                return await self._exchange(connection, packed, len(commands))
            except RedisConnectionError:  # it may have died while nobody was looking
                await connection.disconnect(nowait=True)
                return await self._exchange(connection, packed, len(commands))
        except BaseException:
            await connection.disconnect(nowait=True)  # or whoever is lent it next would read these replies
            raise
        finally:
            await self._pool.release(connection)

    async def _exchange(self, connection: AbstractConnection, packed: bytes, count: int) -> list[Any]:
        if not connection.is_connected:
            await connection.connect()  # type: ignore[no-untyped-call]  # as above
        replies: list[Any] = []
        async with asyncio.timeout(self._reply_timeout_s):  # one for all, where redis-py has one for each reply
            await connection.send_packed_command(packed, check_health=False)
            while len(replies) < count:
                try:
                    replies.append(await connection.read_response())
                except ResponseError as refusal:
                    replies.append(refusal)
        return replies

    def new_connection(self) -> AbstractConnection:
        """One besides the pool, for one who reads all the time; dropped with the others."""
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # as above
        self._lanes.append(connection)
        return connection

    def new_listener(self) -> AbstractConnection:
        """One for who listens to what the server announces, which takes RESP3."""
        options = self._pool.connection_kwargs | {"protocol": 3, "client_name": "authsvc-events"}
        connection: AbstractConnection = self._pool.connection_class(**options)
        return connection

    async def is_named(self, address: Address) -> bool:
        """Whether most sentinels answer, and all of these call this one the primary; without sentinels it is.

        All, for they learn of a failover one after the other, and whoever asks one that knows goes to the new primary.
        """
        if not isinstance(self._pool, _SentinelPool):
            return True
        sentinels = self._pool.sentinel_manager.sentinels
        ask = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._pool.service_name)
        told = await asyncio.gather(*(one.execute_command(*ask) for one in sentinels), return_exceptions=True)
        named = [tuple(map(str_if_bytes, answer)) for answer in told if isinstance(answer, list | tuple)]
        return 2 * len(named) > len(sentinels) and set(named) == {(address[0], str(address[1]))}

    async def drop(self) -> None:
        """Part with every connection: the next ones are made to whoever is the primary then."""
        for connection in self._lanes:
            await connection.disconnect(nowait=True)
        await self._pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]  # as above
        await self._pool.disconnect(inuse_connections=False)

    def watch(self) -> None:
        """Look, from now on, whether it is still the primary; as long as it is in use."""
        if self._watching is None:
            self._vouch()
            self._watching = asyncio.create_task(self._watch(), context=Context())  # no request's

    async def _watch(self) -> None:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # as above
        lost = False
        try:
            while not self._closed:  # a cancellation can be lost to a timeout inside
                try:
                    async with asyncio.timeout(CONNECT_TIMEOUT_S + REPLY_TIMEOUT_S + self._sentinels_timeout_s):
                        await self._look(connection)
                    if lost:  # this may be another server than the one that the others are connected to
                        await self.drop()
                    lost = False
                except NotPrimary:
                    await self.drop()
                except (RedisError, OSError, TimeoutError):
                    await connection.disconnect(nowait=True)
                    lost = True
                await asyncio.sleep(WATCH_S)
        finally:
            await connection.disconnect(nowait=True)

    async def _look(self, connection: AbstractConnection) -> None:
        if not connection.is_connected:
            await connection.connect()  # type: ignore[no-untyped-call]  # as above
        elif isinstance(self._pool, _SentinelPool):
            # One that was cut off, or stopped for a while, does not know that it has been replaced.
            with suppress(MasterNotFoundError):  # nobody to ask: its replicas may know
                named = await self._pool.sentinel_manager.discover_master(self._pool.service_name)
                if named != address_of(connection):
                    await connection.disconnect(nowait=True)
                    raise NotPrimary("REPLACED")
        await check_role(connection)
        if self._vouching:
            if await self._is_followed(connection) or await self.is_named(address_of(connection)):
                self._vouch()
            else:
                log.warning("neither sentinels nor replicas say that %s is the primary", connection._host_error())

    async def _is_followed(self, connection: AbstractConnection) -> bool:
        """Whether enough replicas have acknowledged a moment ago."""
        await connection.send_command("INFO", "replication", check_health=False)
        try:
            told = str_if_bytes(await connection.read_response())
        except ResponseError:  # an ACL may forbid it
            return False
        lags = re.findall(r"^slave\d+:.*state=online.*lag=(\d+)", told, re.MULTILINE)
        return sum(int(lag) <= REPLICA_LAG_S for lag in lags) >= self._vouching

    def _vouch(self) -> None:
        if self._vouching:
            self.reads.good_until = self.writes.good_until = time.monotonic() + VOUCHED_S

    @property
    def _sentinels_timeout_s(self) -> float:
        """What it takes to find out that none of them answers."""
        sentinels = self._pool.sentinel_manager.sentinels if isinstance(self._pool, _SentinelPool) else ()
        return SENTINEL_TIMEOUT_S * len(sentinels)

    async def close(self) -> None:
        self._closed = True
        self.reads.close()
        self.writes.close()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        for connection in self._lanes:
            await connection.disconnect()
        await self._pool.aclose()
        if isinstance(self._pool, _SentinelPool):
            await self._pool.sentinel_manager.aclose()


def _options(given: dict[str, Any], made: type[AbstractConnection]) -> dict[str, Any]:
    return given | {
        "connection_class": made,
        "max_connections": MAX_CONNECTIONS,
        "timeout": POOL_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": None,  # which would be a timer for each reply; whoever asks has one for all
        # redis-py's own default tries ten times more, and each of them may have been executed.
        "retry": _retry(1),
        "client_name": "authsvc",
        # Moving house at a push message is for one vendor's servers, and its being on turns off the check that a
        # connection from the pool has nothing left to read, which would be somebody else's reply.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


def _retry(times: int) -> Retry:
    return Retry(NoBackoff(), times, supported_errors=(RedisConnectionError,))
