"""Where commands go: one server here, a cluster in `cluster.py`, both behind one protocol."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from authsvc.driver.node import Node
from authsvc.driver.reader import NodeReader, Reader
from authsvc.driver.scripts import Command
from authsvc.driver.urls import HostPort


class SlotBatch(NamedTuple):
    """Commands on one hash slot, that of `key`. They travel on one connection in this order.

    optional: the other batches do not fail with this one. There are no replies if its server does not answer.
    """

    key: str
    commands: Sequence[Command]
    optional: bool = False


class TrackedServer(Protocol):
    """A server whose announcements of changed keys are being heard."""

    @property
    def address(self) -> HostPort:
        """Where the server was found."""

    async def ask(self, *command: str) -> Any:
        """The server's reply, on the connection that hears the announcements."""


class Topology(Protocol):
    """Methods raise StoreUnavailable, or what redis-py raises. A refusal of a server stands in its reply's place."""

    async def send(self, batches: Sequence[SlotBatch], then: Command | None = None) -> list[list[Any]]:
        """The replies to the commands of each batch.

        then: a command that each server gets once, after its batches. Its reply follows those of each of these batches.
        """

    def reader(self) -> Reader:
        """A new connection, or several, for the reads of introspection."""

    async def primaries(self) -> Sequence[Node]:
        """All servers that hold keys, in an order that a failover does not change."""

    async def writable(self) -> Sequence[Node]:
        """All servers on which a key may be changed, as is known now."""

    async def covered(self, tracked: Sequence[TrackedServer]) -> bool:
        """Whether these are all servers on which a key may be changed, as is known now."""

    async def close(self) -> None: ...


class Single:
    """One server, found by its address or named by sentinels."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def send(self, batches: Sequence[SlotBatch], then: Command | None = None) -> list[list[Any]]:
        return await send_to(self._node, batches, then)

    def reader(self) -> Reader:
        return NodeReader(self._node)

    async def primaries(self) -> Sequence[Node]:
        return [self._node]

    async def writable(self) -> Sequence[Node]:
        return [self._node]

    async def covered(self, tracked: Sequence[TrackedServer]) -> bool:
        return await self._node.is_named(tracked[0].address)

    async def close(self) -> None:
        await self._node.close()


async def send_to(node: Node, batches: Sequence[SlotBatch], then: Command | None = None) -> list[list[Any]]:
    """Send all batches to one server in one round trip; the replies to each batch, and to `then`."""
    last = [] if then is None else [then]
    sent = await node.send([*(command for batch in batches for command in batch.commands), *last])
    replies, after = iter(sent), sent[len(sent) - len(last) :]
    return [[*(next(replies) for _ in batch.commands), *after] for batch in batches]
