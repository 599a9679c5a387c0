"""Connections and pools, made of redis-py's classes. Uses of redis-py's private parts are gathered here."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import hiredis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse
from redis.maint_notifications import MaintNotificationsConfig

from authsvc.driver.diagnosis import Place, locate
from authsvc.driver.errors import NotPrimary
from authsvc.driver.scripts import Command
from authsvc.driver.timeouts import Timeouts
from authsvc.driver.urls import HostPort, StoreUrl

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 50

# Each connection tells the server the version of redis-py. By default redis-py reads it from the disk each time.
_DRIVER = DriverInfo()

# In place of a reply of which not all bytes have come.
MORE = object()

# redis-py packs a command argument by argument. hiredis, with which redis-py reads, takes a tenth of that time.
pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]  # the stub takes tuples of one only


class OnPrimary(AbstractConnection):
    """Checks, each time it connects, that the server is a primary. Notes the server with each error of connecting."""

    async def connect(self) -> None:
        try:
            await super().connect()  # type: ignore[no-untyped-call]  # redis-py has no type here
        except BaseException as error:  # also a cancellation: it becomes the cause of a TimeoutError
            locate(error, place(self, connecting=True))
            raise

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        await check_role(self)

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:  # uvloop's, for a connection that was reset; asyncio raises ConnectionError
            await self.disconnect(nowait=True)
            raise RedisConnectionError("the connection was reset") from error


class _Tcp(OnPrimary, Connection):
    pass


class _Tls(OnPrimary, SSLConnection):
    pass


class _Unix(OnPrimary, UnixDomainSocketConnection):
    pass


class _Embedded(_Unix):
    """A connection to the embedded store."""


_ON_PRIMARY: dict[type[AbstractConnection], type[OnPrimary]] = {
    Connection: _Tcp,
    SSLConnection: _Tls,
    UnixDomainSocketConnection: _Unix,
}


def connection_class(url: StoreUrl) -> type[AbstractConnection]:
    """redis-py's class for what the URL says: TCP, TLS or a Unix socket."""
    kind: type[AbstractConnection] = url.options.get("connection_class", Connection)
    return kind


def pool_of(url: StoreUrl, address: HostPort | None, timeouts: Timeouts) -> BlockingConnectionPool:
    """A pool of connections to the server at this address. None: at the Unix socket of the URL."""
    where = {} if address is None else {"host": address[0], "port": address[1]}
    made = _Embedded if url.embedded else _ON_PRIMARY[connection_class(url)]
    return BlockingConnectionPool(**pool_options(url, timeouts, made) | where)


def pool_options(url: StoreUrl, timeouts: Timeouts, made: type[OnPrimary]) -> dict[str, Any]:
    return url.options | {
        "connection_class": made,
        "max_connections": MAX_CONNECTIONS,
        "timeout": timeouts.pool_s,
        "socket_connect_timeout": timeouts.connect_s,
        "socket_timeout": None,  # redis-py starts a timer for each reply; the caller has one for all
        # By default redis-py repeats a command ten times, and the server may execute it each time.
        "retry": retry(1),
        "client_name": "authsvc",
        "driver_info": _DRIVER,
        # Maintenance notifications are a feature of one vendor's servers. While they are on, redis-py does not check
        # that a connection from the pool has no reply left to read.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


def retry(times: int) -> Retry:
    return Retry(NoBackoff(), times, supported_errors=(RedisConnectionError,))


def transport_of(connection: AbstractConnection) -> asyncio.Transport:
    """The transport of a connected connection, for a protocol of ours. redis-py reads nothing from then on.

    Raises redis-py's ConnectionError if the server has closed the connection meanwhile.
    """
    if connection._writer is None or connection._reader is None or connection._reader.at_eof():  # no public way
        raise RedisConnectionError("the server closed the connection")
    transport: asyncio.Transport = connection._writer.transport  # type: ignore[assignment]  # it reads, too
    return transport


def replies_of(connection: AbstractConnection) -> hiredis.Reader:
    """A parser of replies. It gives MORE until a reply is complete, and a refusal as redis-py's exception."""
    refusal: Callable[[str], Exception] = connection._parser.parse_error  # there is no public way
    return hiredis.Reader(protocolError=InvalidResponse, replyError=refusal, notEnoughData=MORE)


def unchecked_connection(url: StoreUrl, address: HostPort) -> AbstractConnection:
    """A connection to a server that may be a replica."""
    options = {name: value for name, value in url.options.items() if name != "connection_class"}
    options |= {"host": address[0], "port": address[1], "retry": Retry(NoBackoff(), 0)}
    return connection_class(url)(**options)


def address_of(connection: AbstractConnection) -> HostPort:
    """The server's host and port; of a Unix socket nobody asks for it."""
    return getattr(connection, "host", ""), getattr(connection, "port", 0)


def name_of(connection: AbstractConnection) -> str:
    """The server's address, for a log: host and port, or the path of a socket."""
    host, port = address_of(connection)
    return str(getattr(connection, "path", "")) or f"{host}:{port}"


def place(connection: AbstractConnection, *, connecting: bool = False) -> Place:
    """The server's place, for `diagnosis`."""
    tls, socket = isinstance(connection, SSLConnection), isinstance(connection, UnixDomainSocketConnection)
    files = _files_of(connection) if isinstance(connection, SSLConnection) else ()
    return Place(name_of(connection), tls, socket, connecting, isinstance(connection, _Embedded), files)


def _files_of(connection: SSLConnection) -> tuple[tuple[str, str], ...]:
    named = (
        ("ssl_ca_certs", connection.ca_certs),
        ("ssl_certfile", connection.certfile),
        ("ssl_keyfile", connection.keyfile),
    )
    return tuple((option, path) for option, path in named if path)


async def check_role(connection: AbstractConnection) -> None:
    """Raise NotPrimary unless the server says that it is a primary."""
    await connection.send_command("ROLE", check_health=False)
    role = await connection.read_response()
    if role[0] != b"master":
        log.warning("the server at %s is a replica: it is neither read nor written", name_of(connection))
        raise NotPrimary("REPLICA")


def on_announcement(connection: AbstractConnection, handler: Callable[[list[Any]], Awaitable[object]]) -> None:
    """Let `read_response` return what the handler makes of an announcement. Without a handler redis-py drops it."""
    connection._parser.set_invalidation_push_handler(handler)  # type: ignore[attr-defined]  # there is no public way
