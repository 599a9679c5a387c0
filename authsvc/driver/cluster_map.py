"""The map of a cluster: which node serves the slot of a key, and where to follow a key that moves."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from contextvars import Context
from typing import Any, TypeVar

from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, ResponseError, TryAgainError

from authsvc.driver.diagnosis import locate
from authsvc.driver.durability import Durability
from authsvc.driver.errors import DRIVER_ERRORS
from authsvc.driver.node import Node
from authsvc.driver.redis_py import place, unchecked_connection
from authsvc.driver.timeouts import Timeouts
from authsvc.driver.urls import HostPort, StoreUrl
from authsvc.metrics import Metrics

# The node of a key, and whether ASKING has to precede the command.
Route = tuple[Node, bool]
K = TypeVar("K")

SLOTS = 16_384
# How often a command is sent to where it is said to belong. Each time costs a round trip or a pause.
MAX_ATTEMPTS = 5
_PAUSE_S = 0.05


class ClusterMap:
    """The map of slots to primaries, read from any node that answers, and a Node for each primary."""

    def __init__(self, url: StoreUrl, durability: Durability, metrics: Metrics, timeouts: Timeouts) -> None:
        self._url = url
        self._durability = durability
        self.metrics = metrics
        self.timeouts = timeouts
        self._nodes: dict[HostPort, Node] = {}
        self._owners: list[Node | None] = []
        self._reading: asyncio.Task[None] | None = None

    async def primaries(self) -> list[Node]:
        """All nodes that serve slots, by their lowest slots."""
        if not self._owners:
            await self.refresh()
        return list(dict.fromkeys(owner for owner in self._owners if owner is not None))

    async def route(self, key: str) -> Route:
        """The way to a key. Raises ClusterDownError if no node serves its slot."""
        if not self._owners:
            await self.refresh()
        owner = self._owners[key_slot(key.encode())]
        if owner is None:
            raise ClusterDownError("CLUSTERDOWN nobody serves the slot")
        return owner, False

    async def follow(self, redirected: dict[K, tuple[str, ResponseError]]) -> dict[K, Route]:
        """Where to go next with each redirected key. Waits a moment if the cluster has not settled yet."""
        errors = [error for _, error in redirected.values()]
        if any(isinstance(error, TryAgainError | ClusterDownError) for error in errors):
            await asyncio.sleep(_PAUSE_S)
        if any(isinstance(error, MovedError | ClusterDownError) for error in errors):
            await self.refresh()
        for error in errors:
            if isinstance(error, MovedError) and error.host:  # newer than the map, which another node may have told
                self._owners[error.slot_id] = self.node((error.host, error.port))
        routes: dict[K, Route] = {}
        for index, (key, error) in redirected.items():
            # To redis-py a MovedError is an AskError.
            if isinstance(error, AskError) and not isinstance(error, MovedError):
                routes[index] = self.node((error.host, error.port)), True
            else:
                routes[index] = await self.route(key)
        return routes

    def suspect(self) -> None:
        """A node did not answer: look, in the background, whether another has taken over."""
        task = self._read_map()
        task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def refresh(self) -> None:
        """Read the map, once for all callers that wait. Raises what redis-py raises when no node answers."""
        await asyncio.shield(self._read_map())

    def _read_map(self) -> "asyncio.Task[None]":
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._refresh(), context=Context())  # shared by many requests
        return self._reading

    async def _refresh(self) -> None:
        host, slots = await self.ask_any("CLUSTER", "SLOTS")
        # A node that does not know its own name leaves it out.
        ranges = [(low, high, ((owner[0] or b"").decode() or host, owner[1])) for low, high, owner, *_ in slots]
        await self._redraw(ranges)

    async def ask_any(self, *command: str) -> tuple[str, list[Any]]:
        """The host and the reply of the first node that answers. Raises what redis-py raises when none does."""
        known = list(self._nodes)
        random.shuffle(known)
        error: Exception = ClusterDownError("CLUSTERDOWN no node is known")
        for address in dict.fromkeys((*known, *self._url.hosts)):
            try:
                told = await self._ask(address, command)
            except DRIVER_ERRORS as failure:
                error = failure
                continue
            if told:
                return address[0], told
        raise error

    async def _ask(self, address: HostPort, command: Sequence[str]) -> list[Any]:
        """A node's reply, on a connection for this one question. The node may be a replica."""
        connection = unchecked_connection(self._url, address)
        try:
            async with asyncio.timeout(self.timeouts.map_s):
                await connection.connect()
                await connection.send_command(*command)
                told: list[Any] = await connection.read_response()
                return told
        except DRIVER_ERRORS as error:
            locate(error, place(connection, connecting=True))
            raise
        finally:
            await connection.disconnect(nowait=True)

    async def _redraw(self, ranges: Iterable[tuple[int, int, HostPort]]) -> None:
        owners: list[Node | None] = [None] * SLOTS
        for low, high, address in ranges:
            owners[low : high + 1] = [self.node(address)] * (high + 1 - low)
        self._owners = owners
        for address, node in list(self._nodes.items()):
            if node not in owners:
                del self._nodes[address]
                await node.close()

    def node(self, address: HostPort) -> Node:
        """The node at this address, made when it is first asked for."""
        if address not in self._nodes:
            self._nodes[address] = Node.at(address, self._url, self._durability, self.metrics, self.timeouts)
        return self._nodes[address]

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        for node in self._nodes.values():
            await node.close()
