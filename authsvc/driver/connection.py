"""What the store is asked for: calls, batches, the compare-and-swap; how long that may take, and what errors mean."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from authsvc.driver.breaker import timed
from authsvc.driver.cluster import Cluster, Redirected
from authsvc.driver.cluster_reader import ClusterLane
from authsvc.driver.durability import Durability
from authsvc.driver.node import REPLY_TIMEOUT_S, Node, NotPrimary
from authsvc.driver.node import Command as Command
from authsvc.driver.topology import Heard, Parcel, Single, Topology
from authsvc.driver.urls import StoreUrl
from authsvc.errors import NotDurable, StoreUnavailable
from authsvc.metrics import Metrics

log = logging.getLogger(__name__)

# What is entered, with a name, around a request's wait for the store: a span of a trace, or nothing.
Span = Callable[[str], AbstractContextManager[object]]

# What the present request may still wait for the store, in a list that its parts share; None outside of requests.
_left: ContextVar[list[float] | None] = ContextVar("left", default=None)

# Everything one call may take: waiting for a connection, connecting, and one retry.
CALL_TIMEOUT_S = 1.0
# Everything one request may spend on its calls, so that it is answered within 1.5 s with its password hashes.
REQUEST_TIMEOUT_S = 0.8
# How often a swap is tried again because somebody else changed the record in between.
MAX_CONTENTION = 100

# ARGV holds for each key: the value it must have, the value it gets, and when that expires (ms, or ''). '' is absence.
# Every new value is unique, so finding it already there means that this very swap was applied and its reply got lost.
# It is then written again, and what is gone is put there and deleted: whoever waits for the replicas to have a change
# waits for what was written on the same connection, and on this one nothing was.
# allow-oom: it replaces or deletes, and revoking has to work in a store that is full.
SWAP = b"""#!lua flags=allow-oom
local applied, unchanged = true, true
for i, key in ipairs(KEYS) do
  local held = redis.call('GET', key) or ''
  if held ~= ARGV[3*i-1] then applied = false end
  if held ~= ARGV[3*i-2] then unchanged = false end
end
if not (applied or unchanged) then return 0 end
for i, key in ipairs(KEYS) do
  local new, expiry = ARGV[3*i-1], ARGV[3*i]
  if new == '' then
    redis.call('SET', key, '')
    redis.call('DEL', key)
  elseif expiry == '' then redis.call('SET', key, new)
  else redis.call('SET', key, new, 'PXAT', expiry) end
end
return 1
"""

# DEL that is sent to the replicas even if there was nothing to delete any more, for the same reason.
DELETE = b"""#!lua flags=allow-oom
local deleted = redis.call('DEL', unpack(KEYS))
if deleted == 0 then
  redis.call('SET', KEYS[1], '')
  redis.call('DEL', KEYS[1])
end
return deleted
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One key of a swap. Values are whole records, b'' meaning absent; `expires_at` in epoch seconds."""

    key: str
    old: bytes
    new: bytes
    expires_at: int | None = None


class Connection:
    """The store, whatever its shape. Every method raises StoreUnavailable when it could not get an answer.

    A command may be sent twice, when the connection broke before its reply: all commands used are harmless then.
    `swap` and `delete` are how something is taken from somebody, so they last as long as the level of durability
    says, or raise NotDurable; all else is what nobody is harmed by losing.
    """

    def __init__(
        self,
        url: str,
        durability: Durability = Durability(),  # noqa: B008 - it is frozen
        metrics: Metrics | None = None,
        span: Span = nullcontext,
    ) -> None:
        parsed = StoreUrl.parse(url)
        self.span = span
        self.metrics = metrics = metrics or Metrics()
        self._durability = durability
        reply_timeout_s = REPLY_TIMEOUT_S + (durability.timeout_ms / 1000 if durability.waits else 0)
        self._topology: Topology
        self.lane: Callable[[], Lane | ClusterLane]
        if parsed.shape == "cluster":
            cluster = Cluster(parsed, reply_timeout_s, metrics)
            self._topology = cluster
            self.lane = lambda: ClusterLane(cluster, Lane)
        else:
            behind = parsed.shape == "sentinel"
            host = parsed.hosts[0] if parsed.hosts else None
            vouching = durability.replicas if durability.level == "replica" else 0
            node = (
                Node.behind(parsed, reply_timeout_s, metrics, vouching)
                if behind
                else Node.at(parsed, host, reply_timeout_s, metrics)
            )
            self._topology = Single(node)
            self.lane = lambda: Lane(node)

    @property
    def waits(self) -> bool:
        """Whether a change takes more than the primary's word to last."""
        return self._durability.waits

    async def call(self, *command: str | bytes | int) -> Any:
        return (await self.batch([command]))[0]

    async def batch(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands in one round trip; not atomic. Raises if any of them failed."""
        parcels = [Parcel(_key(command), (command,)) for command in commands]
        return [replies[0] for replies in await self._deliver(parcels)] if parcels else []

    async def transaction(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands on one hash slot that are applied all or none."""
        whole = Parcel(_key(commands[0]), (("MULTI",), *commands, ("EXEC",)))
        [replies] = await self._deliver([whole])
        applied: list[Any] = replies[-1]
        return applied

    async def swap(self, changes: Sequence[Change], *, durable: bool = True) -> bool:
        """Replace the values if all are still the old ones; on one hash slot. False if any was changed meanwhile.

        durable: whether losing the change would harm anybody. Raises NotDurable.
        """
        return bool(await self._write(swap_command(changes), durable=durable))

    async def delete(self, *keys: str) -> int:
        """Delete keys of one hash slot; returns how many there were. Raises NotDurable."""
        if not self.waits:
            return int(await self.call("DEL", *keys))
        return int(await self._write(("EVAL", DELETE, len(keys), *keys), durable=True))

    async def ensure_absent(self, key: str) -> None:
        """Make sure that a key found missing stays so: whoever deleted it may not have been. Raises NotDurable."""
        if self.waits and not await self.swap([Change(key, b"", b"")]):
            raise StoreUnavailable("it was gone, and is there again")

    async def create(self, key: str, value: bytes, expires_at: int | None = None) -> bool:
        """Set a key that must not exist; False if it does. Raises StoreUnavailable when the store is full."""
        expiry = () if expires_at is None else ("PXAT", expires_at * 1000)
        held = await self.call("SET", key, value, "NX", "GET", *expiry)
        return held is None or held == value

    async def listeners(self) -> list[AbstractConnection]:
        """A connection of its own to each primary, not yet connected, for one who listens to it; speaks RESP3."""
        async with answering(self.metrics, self.span):
            return [primary.new_listener() for primary in await self._topology.writable()]

    async def check_covered(self, heard: Sequence[Heard]) -> None:
        """Make sure, by asking, that those listened to are all on which a key may be changed."""
        if not await self._topology.covered(heard):
            raise StoreUnavailable("there is another primary")

    async def ask_primaries(self, commands: Sequence[Command]) -> list[list[Any]]:
        """The replies of every primary, one after the other. A reply is None where the server refuses to tell."""
        async with answering(self.metrics, self.span):
            told = [await primary.send(commands) for primary in await self._topology.primaries()]
        return [[None if isinstance(reply, ResponseError) else reply for reply in replies] for replies in told]

    async def scan(self, position: str, pattern: str, count: int) -> tuple[str, list[bytes]]:
        """One step through the keys of all primaries, from "0" until the position is "0" again."""
        cursor, _, number = position.partition(".")
        at = int(number or 0)
        async with answering(self.metrics, self.span):
            primaries = await self._topology.primaries()
            if at >= len(primaries):  # the cluster has shrunk meanwhile
                return "0", []
            [reply] = await primaries[at].send([("SCAN", cursor, "MATCH", pattern, "COUNT", count)])
            if isinstance(reply, ResponseError):
                raise reply
        following, names = reply[0].decode(), reply[1]
        if following == "0":
            return ("0" if at + 1 == len(primaries) else f"0.{at + 1}"), names
        return (f"{following}.{at}" if at else following), names

    async def close(self) -> None:
        await self._topology.close()

    async def _write(self, command: Command, *, durable: bool) -> Any:
        if not (durable and self.waits):
            return await self.call(*command)
        left = _left.get()
        until = self._durability.command(left[0] if left else None)
        async with answering(self.metrics, self.span):
            [(reply, kept)] = await self._topology.deliver([Parcel(_key(command), (command, until))])
            if isinstance(reply, ResponseError):
                raise reply
        if not self._durability.reached(kept):
            log.warning("not durable: %s answered %s", until[0], _word(kept) if isinstance(kept, Exception) else kept)
            self.metrics.store_errors.add("not_durable")
            raise NotDurable("the change was made, and may not last")
        return reply

    async def _deliver(self, parcels: Sequence[Parcel]) -> list[list[Any]]:
        async with answering(self.metrics, self.span):
            delivered = await self._topology.deliver(parcels)
            for replies in delivered:
                last = replies[-1] if isinstance(replies[-1], list) else []
                for reply in (*replies, *last):
                    if isinstance(reply, ResponseError):
                        raise reply
        return delivered


class Lane:
    """One connection that is used by one caller at a time. Raises StoreUnavailable, like Connection.

    A pool checks, lends, times and takes back a connection for every command; for the reads of introspection that
    cost twice as much as the command itself.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._connection = node.new_connection()
        self._connection.socket_timeout = None  # one timer for the whole call instead

    async def mget(self, wanted: Sequence[str], give_up_at: float) -> list[bytes | None]:
        """The values of these keys. give_up_at: on the event loop's clock."""
        return await self._ask(self._mget, wanted, give_up_at)

    async def get_each(self, wanted: Sequence[str], give_up_at: float, *, asking: bool = False) -> list[Any]:
        """The same on a cluster's node, where no command may name keys of two slots: each value, or a redirection."""
        return await self._ask(self._get_each_asking if asking else self._get_each, wanted, give_up_at)

    async def _ask(
        self, exchange: Callable[[Sequence[str]], Awaitable[list[Any]]], wanted: Sequence[str], give_up_at: float
    ) -> list[Any]:
        try:
            started = time.perf_counter()
            with timed(self._node.reads):
                async with asyncio.timeout_at(give_up_at):
                    try:
                        replies = await exchange(wanted)
                    except RedisConnectionError:  # it may have died while nobody was looking
                        await self._connection.disconnect(nowait=True)
                        replies = await exchange(wanted)
            self._node.metrics.round_trip.observe(time.perf_counter() - started, "lookup")
            return replies
        except BaseException as error:
            await self._connection.disconnect(nowait=True)  # or the next caller would read this one's reply
            if isinstance(error, RedisError | OSError | TimeoutError):
                raise _unavailable(error, self._node.metrics) from error
            raise

    async def close(self) -> None:
        await self._connection.disconnect()

    async def _mget(self, wanted: Sequence[str]) -> list[bytes | None]:
        if not self._connection.is_connected:
            await self._connect()
        # redis-py packs a command argument by argument; hiredis, which it reads with, takes a tenth of that.
        packed = hiredis.pack_command(("MGET", *wanted))  # type: ignore[arg-type]  # its stub means tuple[..., ...]
        await self._connection.send_packed_command(packed, check_health=False)
        values: list[bytes | None] = await self._connection.read_response()
        return values

    async def _connect(self) -> None:
        await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
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
            except Redirected as elsewhere:
                replies.append(elsewhere)
        return replies


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
async def answering(metrics: Metrics, span: Span = nullcontext) -> AsyncIterator[None]:
    """Bound what is inside by the time of a call, and by what the request has left. Raises StoreUnavailable."""
    left = _left.get()
    started = time.monotonic()
    try:
        with meaning(metrics), span("store"):
            async with asyncio.timeout(CALL_TIMEOUT_S if left is None else min(CALL_TIMEOUT_S, left[0])):
                yield
    finally:
        if left is not None:
            left[0] -= time.monotonic() - started


@contextmanager
def meaning(metrics: Metrics) -> Iterator[None]:
    """What the driver's errors mean; they are counted. Raises StoreUnavailable."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise _unavailable(error, metrics) from error


def _unavailable(error: Exception, metrics: Metrics) -> StoreUnavailable:
    metrics.store_errors.add(_kind(error))
    log.warning("store unavailable: %s %s", type(error).__name__, _word(error))
    return StoreUnavailable(type(error).__name__)


def _kind(error: Exception) -> str:
    """What an error of the driver is counted as; the first that fits, for some are kinds of others."""
    return next((kind for errors, kind in _KINDS if isinstance(error, errors)), "other")


_KINDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (NotPrimary, "not_primary"),
    ((ReadOnlyError, MasterDownError), "read_only"),
    (OutOfMemoryError, "full"),
    (BusyLoadingError, "loading"),
    ((AuthenticationError, NoPermissionError), "denied"),
    ((RedisTimeoutError, TimeoutError), "timeout"),
    ((RedisConnectionError, OSError), "connection"),
    (ResponseError, "refused"),
)


def _word(error: Exception) -> str:
    # The text of a server's error may quote the command, so it is kept to the first word (READONLY, OOM, LOADING).
    return str(error).partition(" ")[0] if isinstance(error, RedisError) else ""


def _key(command: Command) -> str:
    """The key that says where a command goes: all others that it names are on the same hash slot."""
    return str(command[3] if command[0] == "EVAL" else command[1])
