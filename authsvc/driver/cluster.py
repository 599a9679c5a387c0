"""Finding the node of a key in a cluster, and following it when it moves.

redis-py's own RedisCluster is not used to send: it asks for a redirected key on another connection than it said ASKING
on, repeats the commands of a pipeline one by one, so that WAIT would speak of nothing, and sleeps a quarter of a second
while the cluster is down. See docs/decisions/007.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextvars import Context
from typing import Any, TypeVar

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, ResponseError, TryAgainError

from authsvc.driver import cluster_shards
from authsvc.driver.node import Address, Node
from authsvc.driver.topology import Heard, Parcel, deliver_to
from authsvc.driver.urls import StoreUrl
from authsvc.metrics import Metrics

# Where a key is, and whether one has to say ASKING first.
Route = tuple[Node, bool]
K = TypeVar("K")

SLOTS = 16_384
# How often a command is sent to where it is said to belong. Each time costs a round trip or a pause.
MAX_ATTEMPTS = 5
_PAUSE_S = 0.05
# A node that does not say quickly what it knows of the others is passed over.
_MAP_TIMEOUT_S = 0.25
_SHARDS = ("CLUSTER", "SHARDS")

Redirected = (MovedError, AskError, TryAgainError, ClusterDownError)


class Cluster:
    """The map of slots to primaries, read from any node that answers, and a Node for each of these."""

    def __init__(self, url: StoreUrl, reply_timeout_s: float, metrics: Metrics) -> None:
        self._url = url
        self._reply_timeout_s = reply_timeout_s
        self._metrics = metrics
        self._nodes: dict[Address, Node] = {}
        self._owners: list[Node | None] = []
        self._reading: asyncio.Task[None] | None = None

    async def primaries(self) -> Sequence[Node]:
        if not self._owners:
            await self.refresh()
        return list(dict.fromkeys(owner for owner in self._owners if owner is not None))  # by their lowest slots

    async def writable(self) -> Sequence[Node]:
        host, shards = await self._ask_one(*_SHARDS)
        tls = self._url.options.get("connection_class") is SSLConnection
        return [self._node(address) for address in cluster_shards.addresses(shards, host, tls=tls)]

    async def covered(self, heard: Sequence[Heard]) -> bool:
        # All are asked: one that has lost a slot or got another knows it at once, the others when they are told.
        ids = await asyncio.gather(*(one.ask("CLUSTER", "MYID") for one in heard))
        told = await asyncio.gather(*(one.ask(*_SHARDS) for one in heard))
        return all(cluster_shards.covered(shards, ids) for shards in told)

    async def deliver(self, parcels: Sequence[Parcel]) -> list[list[Any]]:
        delivered: list[list[Any]] = [[] for _ in parcels]
        todo = {index: await self.route(parcel.key) for index, parcel in enumerate(parcels)}
        for attempt in range(MAX_ATTEMPTS):
            await self._deliver(parcels, todo, delivered)
            redirected = {index: found for index in todo if (found := redirection(delivered[index]))}
            if not redirected or attempt == MAX_ATTEMPTS - 1:
                break
            todo = await self.follow({index: (parcels[index].key, error) for index, error in redirected.items()})
        return delivered

    async def route(self, key: str) -> Route:
        """The way to a key. Raises ClusterDownError if nobody serves its slot."""
        if not self._owners:
            await self.refresh()
        owner = self._owners[key_slot(key.encode())]
        if owner is None:
            raise ClusterDownError("CLUSTERDOWN nobody serves the slot")
        return owner, False

    async def _deliver(self, parcels: Sequence[Parcel], todo: dict[int, Route], delivered: list[list[Any]]) -> None:
        by_node: dict[Node, list[int]] = defaultdict(list)
        for index, (node, _) in todo.items():
            by_node[node].append(index)

        async def one(node: Node, indexes: list[int]) -> None:
            sent = [_asking(parcels[index]) if todo[index][1] else parcels[index] for index in indexes]
            try:
                replies = await deliver_to(node, sent)
            except (RedisError, OSError, TimeoutError):
                self.suspect()
                raise
            for index, answers in zip(indexes, replies, strict=True):
                delivered[index] = answers[1:] if todo[index][1] else answers

        if len(by_node) == 1:
            await one(*by_node.popitem())
        else:
            await asyncio.gather(*(one(node, indexes) for node, indexes in by_node.items()))

    async def follow(self, redirected: dict[K, tuple[str, ResponseError]]) -> dict[K, Route]:
        """Where to go next with each key that was turned away. Waits a moment if the cluster is making up its mind."""
        errors = [error for _, error in redirected.values()]
        if any(isinstance(error, TryAgainError | ClusterDownError) for error in errors):
            await asyncio.sleep(_PAUSE_S)
        if any(isinstance(error, MovedError | ClusterDownError) for error in errors):
            await self.refresh()
        for error in errors:
            if isinstance(error, MovedError) and error.host:  # it knows better than whom we have asked
                self._owners[error.slot_id] = self._node((error.host, error.port))
        routes: dict[K, Route] = {}
        for index, (key, error) in redirected.items():
            # A MovedError is an AskError to redis-py.
            if isinstance(error, AskError) and not isinstance(error, MovedError):
                routes[index] = self._node((error.host, error.port)), True
            else:
                routes[index] = await self.route(key)
        return routes

    def suspect(self) -> None:
        """A node did not answer: look, in the background, whether another has taken over."""
        task = self._read_map()
        task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def refresh(self) -> None:
        """Read the map, once for all who want it now. Raises what redis-py raises when nobody tells it."""
        await asyncio.shield(self._read_map())

    def _read_map(self) -> "asyncio.Task[None]":
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._refresh(), context=Context())  # of all who wait
        return self._reading

    async def _refresh(self) -> None:
        host, slots = await self._ask_one("CLUSTER", "SLOTS")
        # A node that does not know its own name says nothing for it.
        ranges = [(low, high, ((owner[0] or b"").decode() or host, owner[1])) for low, high, owner, *_ in slots]
        await self._redraw(ranges)

    async def _ask_one(self, *command: str) -> tuple[str, list[Any]]:
        """The host of a node, and what it told. Raises what redis-py raises when nobody tells anything."""
        known = list(self._nodes)
        random.shuffle(known)
        error: Exception = ClusterDownError("CLUSTERDOWN no node is known")
        for address in dict.fromkeys((*known, *self._url.hosts)):
            try:
                told = await self._ask(address, command)
            except (RedisError, OSError, TimeoutError) as failure:
                error = failure
                continue
            if told:
                return address[0], told
        raise error

    async def _ask(self, address: Address, command: Sequence[str]) -> list[Any]:
        """What this node knows, on a connection for this once: it may well be a replica."""
        kind: type[AbstractConnection] = self._url.options.get("connection_class", Connection)
        options = {name: value for name, value in self._url.options.items() if name != "connection_class"}
        host, port = address
        connection = kind(**options, host=host, port=port, retry=Retry(NoBackoff(), 0))  # type: ignore[call-arg]  # as above
        try:
            async with asyncio.timeout(_MAP_TIMEOUT_S):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
                await connection.send_command(*command)
                told: list[Any] = await connection.read_response()
                return told
        finally:
            await connection.disconnect(nowait=True)

    async def _redraw(self, ranges: Iterable[tuple[int, int, Address]]) -> None:
        owners: list[Node | None] = [None] * SLOTS
        for low, high, address in ranges:
            owners[low : high + 1] = [self._node(address)] * (high + 1 - low)
        self._owners = owners
        for address, node in list(self._nodes.items()):
            if node not in owners:
                del self._nodes[address]
                await node.close()

    def _node(self, address: Address) -> Node:
        if address not in self._nodes:
            self._nodes[address] = Node.at(self._url, address, self._reply_timeout_s, self._metrics)
        return self._nodes[address]

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        for node in self._nodes.values():
            await node.close()


def redirection(replies: Iterable[Any]) -> ResponseError | None:
    """The first of the replies that says to go elsewhere, or to come again."""
    return next((reply for reply in replies if isinstance(reply, Redirected)), None)


def _asking(parcel: Parcel) -> Parcel:
    # It holds for one command, and for a whole transaction.
    return Parcel(parcel.key, (("ASKING",), *parcel.commands))
