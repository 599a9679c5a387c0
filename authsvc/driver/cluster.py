"""Sending commands to a cluster: each batch to the node of its slot, and after it when the slot moves.

redis-py's own RedisCluster is not used to send, for three reasons. It asks for a redirected key on another connection
than the one on which it said ASKING. It repeats the commands of a pipeline one by one, so that WAIT would count no
writes. It sleeps a quarter of a second while the cluster is down. See docs/decisions/007.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio.connection import SSLConnection
from redis.exceptions import ClusterDownError, ResponseError

from authsvc.driver import cluster_shards
from authsvc.driver.cluster_map import MAX_ATTEMPTS, ClusterMap, Route
from authsvc.driver.cluster_reader import ClusterReader
from authsvc.driver.durability import Durability
from authsvc.driver.errors import DRIVER_ERRORS, REDIRECTIONS
from authsvc.driver.node import Node
from authsvc.driver.reader import Reader
from authsvc.driver.redis_py import connection_class
from authsvc.driver.scripts import Command
from authsvc.driver.timeouts import Timeouts
from authsvc.driver.topology import SlotBatch, TrackedServer, send_to
from authsvc.driver.urls import StoreUrl
from authsvc.metrics import Metrics

_SHARDS = ("CLUSTER", "SHARDS")


class Cluster:
    """The topology of a cluster."""

    def __init__(self, url: StoreUrl, durability: Durability, metrics: Metrics, timeouts: Timeouts) -> None:
        self._map = ClusterMap(url, durability, metrics, timeouts)
        self._tls = connection_class(url) is SSLConnection

    def reader(self) -> Reader:
        return ClusterReader(self._map)

    async def primaries(self) -> Sequence[Node]:
        return await self._map.primaries()

    async def writable(self) -> Sequence[Node]:
        host, shards = await self._map.ask_any(*_SHARDS)
        return [self._map.node(address) for address in cluster_shards.addresses(shards, host, tls=self._tls)]

    async def covered(self, tracked: Sequence[TrackedServer]) -> bool:
        # All are asked: a node that has lost or got a slot knows it at once, the other nodes learn it later.
        ids = await asyncio.gather(*(server.ask("CLUSTER", "MYID") for server in tracked))
        told = await asyncio.gather(*(server.ask(*_SHARDS) for server in tracked))
        return all(cluster_shards.covered(shards, ids) for shards in told)

    async def send(self, batches: Sequence[SlotBatch], then: Command | None = None) -> list[list[Any]]:
        replies: list[list[Any]] = [[] for _ in batches]
        todo: dict[int, Route] = {}
        for index, batch in enumerate(batches):
            try:
                todo[index] = await self._map.route(batch.key)
            except ClusterDownError:
                if not batch.optional:
                    raise
        for attempt in range(MAX_ATTEMPTS):
            await self._send(batches, then, todo, replies)
            redirected = {index: found for index in todo if (found := redirection(replies[index]))}
            if not redirected or attempt == MAX_ATTEMPTS - 1:
                break
            todo = await self._map.follow({index: (batches[index].key, error) for index, error in redirected.items()})
        return replies

    async def _send(
        self, batches: Sequence[SlotBatch], then: Command | None, todo: dict[int, Route], replies: list[list[Any]]
    ) -> None:
        """Send the batches that are to do to their nodes, all nodes at once, and put the replies in their places."""
        by_node: dict[Node, list[int]] = defaultdict(list)
        for index, (node, _) in todo.items():
            by_node[node].append(index)

        async def one(node: Node, indexes: list[int]) -> None:
            sent = [_asking(batches[index]) if todo[index][1] else batches[index] for index in indexes]
            try:
                told = await send_to(node, sent, then)
            except DRIVER_ERRORS:
                self._map.suspect()
                if all(batches[index].optional for index in indexes):
                    return
                raise
            for index, answers in zip(indexes, told, strict=True):
                replies[index] = answers[1:] if todo[index][1] else answers

        if len(by_node) == 1:
            await one(*by_node.popitem())
        else:
            await asyncio.gather(*(one(node, indexes) for node, indexes in by_node.items()))

    async def close(self) -> None:
        await self._map.close()


def redirection(replies: Iterable[Any]) -> ResponseError | None:
    """The first of the replies that says to go elsewhere, or to come again."""
    return next((reply for reply in replies if isinstance(reply, REDIRECTIONS)), None)


def _asking(batch: SlotBatch) -> SlotBatch:
    # ASKING holds for one command, or for a whole transaction.
    return batch._replace(commands=(("ASKING",), *batch.commands))
