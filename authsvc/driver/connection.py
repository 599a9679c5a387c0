"""The store as the rest of the service sees it: calls, batches, transactions, compare-and-swap, scans."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, ResponseError

from authsvc.driver.cluster import Cluster
from authsvc.driver.deadline import Span, current_budget, store_call
from authsvc.driver.durability import Durability
from authsvc.driver.errors import denied_command, first_word
from authsvc.driver.node import Node
from authsvc.driver.reader import Reader
from authsvc.driver.scripts import Change, Command, delete_command, key_of, swap_command
from authsvc.driver.timeouts import Timeouts
from authsvc.driver.topology import Single, SlotBatch, Topology, TrackedServer
from authsvc.driver.tracking import OnChange, Tracking
from authsvc.driver.urls import StoreUrl
from authsvc.errors import NotDurable, StoreUnavailable
from authsvc.metrics import Metrics

log = logging.getLogger(__name__)


class Connection:
    """The store in every topology. Every method raises StoreUnavailable when it gets no answer.

    A command may be sent twice, when the connection broke before its reply: all commands used are harmless then.
    `swap` and `delete` revoke, so they honour AUTHSVC_DURABILITY and raise NotDurable. Losing any other write in a
    failover is harmless.

    span: makes a context manager with a name. Each wait for the store runs in one.
    clustered: the URL names a cluster. numbered: the URL names another database than 0.
    embedded: the store is the embedded one.
    """

    def __init__(
        self,
        url: str,
        durability: Durability = Durability(),
        metrics: Metrics | None = None,
        span: Span = nullcontext,
        timeouts: Timeouts = Timeouts(),
        *,
        embedded: bool = False,
    ) -> None:
        self.metrics = metrics or Metrics()
        self.timeouts = timeouts
        self._span = span
        self._durability = durability
        self._url = replace(StoreUrl.parse(url), embedded=embedded)
        self.clustered, self.numbered = self._url.shape == "cluster", bool(self._url.options.get("db"))
        self._topology = _topology(self._url, durability, self.metrics, timeouts)

    @property
    def waits(self) -> bool:
        """Whether a change has to be on more than the primary."""
        return self._durability.waits

    @property
    def where(self) -> str:
        """The store in words, without credentials."""
        return self._url.where

    def refuse_unreadable_files(self) -> None:
        """Raise StartupError if the URL names a file that can't be read. Waiting would not help."""
        self._url.refuse_unreadable_files()

    def store_call(self) -> AbstractAsyncContextManager[None]:
        """Bound the time of a wait for the store. Raises StoreUnavailable."""
        return store_call(self.timeouts, self.metrics, self._span)

    async def call(self, *command: str | bytes | int) -> Any:
        """Send one command; its reply."""
        return (await self.batch([command]))[0]

    async def values(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of many keys, in one round trip. None for an absent key."""
        if not keys:
            return []
        if self.clustered:
            return await self.batch([("GET", key) for key in keys])
        found: list[bytes | None] = await self.call("MGET", *keys)
        return found

    async def batch(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands in one round trip; not atomic. Raises if any of them failed."""
        batches = [SlotBatch(key_of(command), (command,)) for command in commands]
        return [replies[0] for replies in await self._send(batches)] if batches else []

    async def transaction(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands on one hash slot. The store applies all or none."""
        [replies] = await self._send([_whole(commands)])
        applied: list[Any] = replies[-1]
        return applied

    async def swap(self, changes: Sequence[Change], *, durable: bool = True) -> bool:
        """Replace values on one hash slot, if all are still the old ones. False if another caller changed one.

        durable: whether losing the change would harm anybody. Raises NotDurable.
        """
        return bool(await self._write(swap_command(changes), durable=durable))

    async def change_each(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands of `scripts.py` that change a key each, in one round trip; not atomic. Their replies.

        All changes are waited for together. Each command has to write: WAIT counts the writes of its connection.
        Raises NotDurable.
        """
        if not self.waits:
            return await self.batch(commands)
        return await self._write_durably(commands) if commands else []

    async def delete(self, *keys: str) -> int:
        """Delete keys of one hash slot; returns how many there were. Raises NotDurable."""
        if not self.waits:
            return int(await self.call("DEL", *keys))
        return int(await self._write(delete_command(keys), durable=True))

    async def ensure_absent(self, key: str) -> None:
        """Make the absence of a key durable: its deletion may have been answered with NotDurable. Raises NotDurable."""
        if self.waits and not await self.swap([Change(key, b"", b"")]):
            raise StoreUnavailable("the key was deleted, and exists again")

    async def create(self, key: str, value: bytes, expires_at: int | None = None) -> bool:
        """Set a key that must not exist; False if it does. Raises StoreUnavailable when the store is full."""
        return _is_created(await self.call(*_creating(key, value, expires_at)), value)

    async def create_beside(
        self,
        commands: Sequence[Command],
        key: str,
        value: bytes,
        expires_at: int | None,
        others: Sequence[Command] = (),
    ) -> tuple[bool, list[Any]]:
        """Set a key as `create` does, and send a transaction in the same round trip. Also returns its replies.

        others: commands that go along, each on a slot of its own. Whether they are applied changes nothing.
        Key and transaction may be applied without each other: they may be on several servers.
        """
        creation = SlotBatch(key, (_creating(key, value, expires_at),))
        along = [SlotBatch(key_of(command), (command,), optional=True) for command in others]
        [*_, applied], [held], *_ = await self._send([_whole(commands), creation, *along])
        return _is_created(held, value), applied

    def reader(self) -> Reader:
        """A connection for the reads of introspection, besides those of all other calls."""
        return self._topology.reader()

    async def trackings(self, prefixes: Sequence[str], on_change: OnChange) -> list[Tracking]:
        """One Tracking for each primary, not yet opened. `on_change` is called with the names of changed keys."""
        async with self.store_call():
            listeners = [primary.new_listener() for primary in await self._topology.writable()]
        return [Tracking(listener, prefixes, on_change, self.metrics, self.timeouts) for listener in listeners]

    async def check_covered(self, tracked: Sequence[TrackedServer]) -> None:
        """Raise StoreUnavailable unless these are all servers on which a key may be changed. Asks the servers."""
        if not await self._topology.covered(tracked):
            raise StoreUnavailable("there is another primary")

    async def ask_primaries(self, commands: Sequence[Command]) -> list[list[Any]]:
        """The replies of every primary, one after the other. A reply is None where the server refuses to tell."""
        async with self.store_call():
            told = [await primary.send(commands) for primary in await self._topology.primaries()]
        return [[None if isinstance(reply, ResponseError) else reply for reply in replies] for replies in told]

    async def denied(self, commands: Mapping[str, Command], patterns: Mapping[str, Command]) -> list[str]:
        """The names of what the ACL of a primary denies us. Tries them without any effect. See `rights.denied`."""
        async with self.store_call():
            try:
                told = [await primary.denied(commands, patterns) for primary in await self._topology.primaries()]
            except (NoPermissionError, RedisConnectionError) as error:  # what the map of a cluster takes
                right = denied_command(error)
                if right is None:
                    raise
                told = [[right]]
        return list(dict.fromkeys(name for names in told for name in names))

    async def scan(self, position: str, pattern: str, count: int) -> tuple[str, list[bytes]]:
        """One step through the keys of all primaries, from "0" until the position is "0" again."""
        cursor, _, number = position.partition(".")
        at = int(number or 0)
        async with self.store_call():
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
        """Send a command that changes a key and, if the change has to be durable, wait until it is."""
        if not (durable and self.waits):
            return await self.call(*command)
        return (await self._write_durably([command]))[0]

    async def _write_durably(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands that change a key each, and wait once on each server until all its changes are durable."""
        budget = current_budget()
        wait = self._durability.command(budget.left_s if budget else None)
        async with self.store_call():
            sent = await self._topology.send([SlotBatch(key_of(command), (command,)) for command in commands], wait)
            for reply, _ in sent:
                if isinstance(reply, ResponseError):
                    raise reply
        for _, reached in sent:
            if not self._durability.reached(reached):
                told = first_word(reached) if isinstance(reached, Exception) else reached
                log.warning("not durable: %s answered %s", wait[0], told)
                self.metrics.store_errors.add("not_durable")
                raise NotDurable("the change was made, and may not last")
        return [reply for reply, _ in sent]

    async def _send(self, batches: Sequence[SlotBatch]) -> list[list[Any]]:
        async with self.store_call():
            sent = await self._topology.send(batches)
            for batch, replies in zip(batches, sent, strict=True):
                if batch.optional:
                    continue
                last = replies[-1] if isinstance(replies[-1], list) else []
                for reply in (*replies, *last):
                    if isinstance(reply, ResponseError):
                        raise reply
        return sent


def _whole(commands: Sequence[Command]) -> SlotBatch:
    """A transaction of these commands."""
    return SlotBatch(key_of(commands[0]), (("MULTI",), *commands, ("EXEC",)))


def _creating(key: str, value: bytes, expires_at: int | None) -> Command:
    return ("SET", key, value, "NX", "GET", *(() if expires_at is None else ("PXAT", expires_at * 1000)))


def _is_created(held: bytes | None, value: bytes) -> bool:
    # The command may have been repeated: its first attempt worked, and the reply got lost.
    return held is None or held == value


def _topology(url: StoreUrl, durability: Durability, metrics: Metrics, timeouts: Timeouts) -> Topology:
    if url.shape == "cluster":
        return Cluster(url, durability, metrics, timeouts)
    if url.shape == "sentinel":
        return Single(Node.behind_sentinels(url, durability, metrics, timeouts))
    return Single(Node.at(url.hosts[0] if url.hosts else None, url, durability, metrics, timeouts))
