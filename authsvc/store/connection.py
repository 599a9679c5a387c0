"""The one place that speaks to redis-py: calls, batches, the compare-and-swap, and what its errors mean."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from authsvc.errors import StartupError, StoreUnavailable

log = logging.getLogger(__name__)

Command = tuple[str | bytes | int, ...]

# What the present request may still wait for the store, in a list that its parts share; None outside of requests.
_left: ContextVar[list[float] | None] = ContextVar("left", default=None)

CONNECT_TIMEOUT_S = 0.5
REPLY_TIMEOUT_S = 0.5
# Everything one call may take: waiting for a connection, connecting, and one retry.
CALL_TIMEOUT_S = 1.0
MAX_CONNECTIONS = 50
# Everything one request may spend on its calls, so that it is answered within 1.5 s with its password hashes.
REQUEST_TIMEOUT_S = 0.8
# How often a swap is tried again because somebody else changed the record in between.
MAX_CONTENTION = 100

# ARGV holds for each key: the value it must have, the value it gets, and when that expires (ms, or ''). '' is absence.
# Every new value is unique, so finding it already there means that this very swap was applied and its reply got lost.
# allow-oom: it replaces or deletes, and revoking has to work in a store that is full.
SWAP = b"""#!lua flags=allow-oom
local held, applied = {}, true
for i, key in ipairs(KEYS) do
  held[i] = redis.call('GET', key) or ''
  if held[i] ~= ARGV[3*i-1] then applied = false end
end
if applied then return 1 end
for i in ipairs(KEYS) do
  if held[i] ~= ARGV[3*i-2] then return 0 end
end
for i, key in ipairs(KEYS) do
  local new, expiry = ARGV[3*i-1], ARGV[3*i]
  if new == '' then redis.call('DEL', key)
  elseif expiry == '' then redis.call('SET', key, new)
  else redis.call('SET', key, new, 'PXAT', expiry) end
end
return 1
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One key of a swap. Values are whole records, b'' meaning absent; `expires_at` in epoch seconds."""

    key: str
    old: bytes
    new: bytes
    expires_at: int | None = None


class Connection:
    """A pool of connections to one server. Every method raises StoreUnavailable when it could not get an answer.

    A command may be sent twice, when the connection broke before its reply: all commands used are harmless then.
    """

    def __init__(self, url: str) -> None:
        try:
            pool = self._open_pool(url)
        except ValueError:  # its text may hold the password
            raise StartupError(
                "the store's URL is not understood: redis://, rediss:// or unix://, with a database number if any"
            ) from None
        self._pool = pool
        self._redis = Redis.from_pool(pool)
        # Replies are taken as the server sends them, the same in a call, a batch and a transaction.
        self._redis.response_callbacks.clear()

    @staticmethod
    def _open_pool(url: str) -> BlockingConnectionPool:
        return BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=CALL_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=REPLY_TIMEOUT_S,
            # redis-py's own default tries ten times more, and each of them may have been executed.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            client_name="authsvc",
        )

    async def call(self, *command: str | bytes | int) -> Any:
        async with answering():
            return await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py has no types here

    async def batch(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands in one round trip; not atomic. Raises if any of them failed."""
        return await self._pipeline(commands, transaction=False)

    async def transaction(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands on one hash slot that are applied all or none."""
        return await self._pipeline(commands, transaction=True)

    async def swap(self, changes: Sequence[Change]) -> bool:
        """Replace the values if all are still the old ones; on one hash slot. False if any was changed meanwhile."""
        return bool(await self.call(*swap_command(changes)))

    async def create(self, key: str, value: bytes, expires_at: int | None = None) -> bool:
        """Set a key that must not exist; False if it does. Raises StoreUnavailable when the store is full."""
        expiry = () if expires_at is None else ("PXAT", expires_at * 1000)
        held = await self.call("SET", key, value, "NX", "GET", *expiry)
        return held is None or held == value

    async def ask_primaries(self, commands: Sequence[Command]) -> list[list[Any]]:
        """Ask every primary, of which there is one here. A reply is None where the server refuses to tell."""
        async with answering():
            pipeline = self._redis.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            replies = await pipeline.execute(raise_on_error=False)
        return [[None if isinstance(reply, ResponseError) else reply for reply in replies]]

    def lane(self) -> "Lane":
        """A connection of its own, besides the pool, for one who reads all the time."""
        return Lane(self._pool.make_connection())  # type: ignore[no-untyped-call]  # as above

    async def close(self) -> None:
        await self._redis.aclose()

    async def _pipeline(self, commands: Sequence[Command], *, transaction: bool) -> list[Any]:
        async with answering():
            pipeline = self._redis.pipeline(transaction=transaction)
            for command in commands:
                pipeline.execute_command(*command)
            replies: list[Any] = await pipeline.execute()
            return replies


class Lane:
    """One connection that is used by one caller at a time. Raises StoreUnavailable, like Connection.

    A pool checks, lends, times and takes back a connection for every command; for the reads of introspection that
    cost twice as much as the command itself.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._connection.socket_timeout = None  # one timer for the whole call instead

    async def mget(self, wanted: Sequence[str], give_up_at: float) -> list[bytes | None]:
        """The values of these keys. give_up_at: on the event loop's clock."""
        try:
            async with asyncio.timeout_at(give_up_at):
                try:
                    return await self._mget(wanted)
                except RedisConnectionError:  # it may have died while nobody was looking
                    await self._connection.disconnect(nowait=True)
                    return await self._mget(wanted)
        except BaseException as error:
            await self._connection.disconnect(nowait=True)  # or the next caller would read this one's reply
            if isinstance(error, RedisError | OSError | TimeoutError):
                raise _unavailable(error) from error
            raise

    async def close(self) -> None:
        await self._connection.disconnect()

    async def _mget(self, wanted: Sequence[str]) -> list[bytes | None]:
        if not self._connection.is_connected:
            await self._connection.connect()  # type: ignore[no-untyped-call]  # as above
        await self._connection.send_command("MGET", *wanted)
        values: list[bytes | None] = await self._connection.read_response()
        return values


def swap_command(changes: Sequence[Change]) -> Command:
    arguments: list[str | bytes | int] = []
    for change in changes:
        expiry = "" if change.expires_at is None else change.expires_at * 1000
        arguments += (change.old, change.new, expiry)
    return ("EVAL", SWAP, len(changes), *(change.key for change in changes), *arguments)


def stamped(json: bytes) -> bytes:
    """A record's JSON with a write id, so that no two writes are the same bytes even when the records are equal."""
    return b'%s,"w":"%s"}' % (json[:-1], secrets.token_urlsafe(6).encode())


@contextmanager
def patience(seconds: float | None) -> Iterator[None]:
    """Bound the time that all inside spends waiting for the store: a slow one must not add up. None: unbounded."""
    token = _left.set(None if seconds is None else [seconds])
    try:
        yield
    finally:
        _left.reset(token)


def is_bounded() -> bool:
    """Whether what runs now has a bound of its own, besides that of each call."""
    return _left.get() is not None


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """Bound what is inside by the time of a call, and by what the request has left. Raises StoreUnavailable."""
    left = _left.get()
    started = time.monotonic()
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S if left is None else min(CALL_TIMEOUT_S, left[0])):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        raise _unavailable(error) from error
    finally:
        if left is not None:
            left[0] -= time.monotonic() - started


def _unavailable(error: Exception) -> StoreUnavailable:
    # The text of a server's error may quote the command, so it is kept to the first word (READONLY, OOM, LOADING).
    word = str(error).partition(" ")[0] if isinstance(error, RedisError) else ""
    log.warning("store unavailable: %s %s", type(error).__name__, word)
    return StoreUnavailable(type(error).__name__)
