"""Sentinels: a pool of connections to the primary they name, and the question whether most of them name it."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import SSLConnection
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.utils import str_if_bytes

from authsvc.driver.diagnosis import Place, locate
from authsvc.driver.redis_py import OnPrimary, connection_class, pool_options, retry
from authsvc.driver.timeouts import Timeouts
from authsvc.driver.urls import HostPort, StoreUrl

log = logging.getLogger(__name__)


class SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Asks the sentinels for the primary each time it connects."""

    def __init__(self, service: str, sentinels: Sentinel, options: dict[str, Any]) -> None:
        super().__init__(service, sentinels, **options)  # type: ignore[no-untyped-call]  # redis-py has no types here
        self._logged: str | None = None

    async def get_master_address(self) -> HostPort:
        """The primary to connect to. Notes the sentinels with the error, if they name none."""
        try:
            address: HostPort = await super().get_master_address()  # type: ignore[no-untyped-call]  # as above
        except BaseException as error:
            locate(error, Place(f"the sentinels {', '.join(_addresses(self.sentinel_manager))}"))
            raise
        return address

    async def primary(self) -> HostPort:
        """The primary that the first sentinel to answer names. Raises MasterNotFoundError if none answers."""
        named: HostPort = await self.sentinel_manager.discover_master(self.service_name)
        return named

    async def is_named(self, address: HostPort) -> bool:
        """Whether most sentinels answer, and all that answer call this server the primary.

        All, because sentinels learn of a failover one after the other. A client that asks the first of them to know is
        already at the new primary.
        """
        sentinels = self.sentinel_manager.sentinels
        ask = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service_name)
        told = await asyncio.gather(*(sentinel.execute_command(*ask) for sentinel in sentinels), return_exceptions=True)
        named = [":".join(map(str_if_bytes, answer)) for answer in told if isinstance(answer, list | tuple)]
        ours = f"{address[0]}:{address[1]}"
        agreed = 2 * len(named) > len(sentinels) and set(named) == {ours}
        self._log_doubt(None if agreed else _doubt(named, len(sentinels), ours))
        return agreed

    def _log_doubt(self, doubt: str | None) -> None:
        if doubt is not None and doubt != self._logged:  # asked once a second: once for each reason is enough
            log.warning("it is not sure that the primary is still one, so /events is silent: %s", doubt)
        self._logged = doubt

    def longest_s(self, timeouts: Timeouts) -> float:
        """How long it takes until every sentinel has failed to answer."""
        return timeouts.sentinel_s * len(self.sentinel_manager.sentinels)

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def _doubt(named: Sequence[str], asked: int, ours: str) -> str:
    """Why the sentinels do not vouch for the server at the address `ours`. named: the addresses in their answers."""
    if 2 * len(named) <= asked:
        return f"{len(named)} of {asked} sentinels know it"
    found = ", ".join(f"{name} ({named.count(name)})" for name in sorted(set(named)))
    return f"we use {ours}, and the sentinels name {found}; all have to use the same name or address"


class _Sentinels(Sentinel):
    """Puts the sentinel that answered first, and loses none.

    redis-py swaps two places of a list that it read before it waited. When several callers ask at once, one sentinel
    ends up in the list twice and another is gone for good.
    """

    def __init__(self, addresses: Sequence[HostPort], options: dict[str, Any]) -> None:
        super().__init__(addresses, sentinel_kwargs=options)  # type: ignore[no-untyped-call]  # as above

    async def discover_master(self, service_name: str) -> HostPort:
        everyone = tuple(self.sentinels)
        try:
            found: HostPort = await super().discover_master(service_name)
            return found
        finally:
            self.sentinels[:] = dict.fromkeys((*self.sentinels, *everyone))


class _Tcp(OnPrimary, SentinelManagedConnection):
    pass


class _Tls(OnPrimary, SentinelManagedSSLConnection):
    pass


def _addresses(manager: Sentinel) -> list[str]:
    kwargs = [sentinel.connection_pool.connection_kwargs for sentinel in manager.sentinels]
    return sorted(f"{one['host']}:{one['port']}" for one in kwargs)


def sentinel_pool(url: StoreUrl, timeouts: Timeouts) -> SentinelPool:
    """A pool of connections to the server that the sentinels call the primary at that time."""
    tls = connection_class(url) is SSLConnection
    sentinels_by_tls = url.sentinel_options.get("connection_class") is SSLConnection
    theirs = {name: value for name, value in url.sentinel_options.items() if name != "connection_class"}
    theirs |= {
        "ssl": sentinels_by_tls,
        "socket_timeout": timeouts.sentinel_s,
        "socket_connect_timeout": timeouts.sentinel_s,
        "retry": retry(0),
    }
    return SentinelPool(url.service, _Sentinels(url.hosts, theirs), pool_options(url, timeouts, _Tls if tls else _Tcp))
