"""Whether a server is still the primary: looked at once a second, beside the calls that the server answers."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import Context

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ResponseError
from redis.utils import str_if_bytes

from authsvc.driver.breaker import Breaker
from authsvc.driver.errors import DRIVER_ERRORS, NotPrimary
from authsvc.driver.redis_py import address_of, check_role, name_of
from authsvc.driver.sentinel import SentinelPool
from authsvc.driver.timeouts import Timeouts

log = logging.getLogger(__name__)

# A replica acknowledges once a second. A replica that is silent for longer may follow another primary by now.
REPLICA_LAG_S = 2


class Watch:
    """Looks from `start` to `close`. Calls `drop` when other connections may lead to a server that was replaced.

    in_sync_replicas: 0 if the server's own word is enough. Otherwise the breakers let calls pass only while most
    sentinels name the server the primary, or this many replicas follow it. Without either, the server may be an old
    primary on our side of a network partition.
    """

    def __init__(
        self,
        pool: BlockingConnectionPool,
        breakers: Sequence[Breaker],
        drop: Callable[[], Awaitable[None]],
        timeouts: Timeouts,
        in_sync_replicas: int,
    ) -> None:
        self._pool = pool
        self._breakers = breakers
        self._drop = drop
        self._timeouts = timeouts
        self._in_sync_replicas = in_sync_replicas
        self._looking: asyncio.Task[None] | None = None
        self._away_since: float | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to look, if nobody has begun before: servers that are not in use are not watched."""
        if self._looking is None:
            self._vouch()
            self._looking = asyncio.create_task(self._look_on(), context=Context())  # not in a request's context

    async def close(self) -> None:
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _look_on(self) -> None:
        connection: AbstractConnection = self._pool.make_connection()
        lost = False
        try:
            while not self._closed:  # asked as well, because a timeout inside can swallow a cancellation
                began = time.monotonic()
                try:
                    async with asyncio.timeout(self._longest_look_s):
                        await self._look(connection)
                    if lost:  # the other connections may lead to another server than this one
                        await self._drop()
                    lost = False
                    self._log_return(connection)
                except NotPrimary:
                    self._away_since = self._away_since or began
                    await self._drop()
                except DRIVER_ERRORS:
                    self._away_since = self._away_since or began
                    await connection.disconnect(nowait=True)
                    lost = True
                await asyncio.sleep(self._timeouts.watch_s)
        finally:
            await connection.disconnect(nowait=True)

    def _log_return(self, connection: AbstractConnection) -> None:
        """Tell the end of an outage: each failure of a call was a warning, and then the warnings just end."""
        if self._away_since is not None:
            away_s = time.monotonic() - self._away_since
            log.info("store available again: %s, after %.0f s", name_of(connection), away_s)
            self._away_since = None

    async def _look(self, connection: AbstractConnection) -> None:
        if not connection.is_connected:
            await connection.connect()
        elif isinstance(self._pool, SentinelPool):
            await self._check_not_replaced(connection, self._pool)
        await check_role(connection)
        if self._in_sync_replicas:
            if await self._is_followed(connection) or await self._is_named(connection):
                self._vouch()
            else:
                log.warning("neither sentinels nor replicas say that %s is the primary", name_of(connection))

    async def _check_not_replaced(self, connection: AbstractConnection, pool: SentinelPool) -> None:
        """Raise NotPrimary if the sentinels name another server. The old primary may not know that it was replaced."""
        with suppress(MasterNotFoundError):  # no sentinel answers: the replicas may know
            if await pool.primary() != address_of(connection):
                await connection.disconnect(nowait=True)
                raise NotPrimary("REPLACED")

    async def _is_named(self, connection: AbstractConnection) -> bool:
        return not isinstance(self._pool, SentinelPool) or await self._pool.is_named(address_of(connection))

    async def _is_followed(self, connection: AbstractConnection) -> bool:
        """Whether enough replicas have acknowledged lately."""
        await connection.send_command("INFO", "replication", check_health=False)
        try:
            told = str_if_bytes(await connection.read_response())
        except ResponseError:  # an ACL may forbid INFO
            return False
        lags = re.findall(r"^slave\d+:.*state=online.*lag=(\d+)", told, re.MULTILINE)
        return sum(int(lag) <= REPLICA_LAG_S for lag in lags) >= self._in_sync_replicas

    def _vouch(self) -> None:
        if self._in_sync_replicas:
            for breaker in self._breakers:
                breaker.good_until = time.monotonic() + self._timeouts.vouched_s

    @property
    def _longest_look_s(self) -> float:
        sentinels_s = self._pool.longest_s(self._timeouts) if isinstance(self._pool, SentinelPool) else 0.0
        return self._timeouts.connect_s + self._timeouts.reply_s + sentinels_s
