"""The reads of introspection on a cluster: each key is read from its own node, all nodes at once."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from redis.exceptions import ResponseError

from authsvc.driver.cluster_map import MAX_ATTEMPTS, ClusterMap, Route
from authsvc.driver.errors import DRIVER_ERRORS
from authsvc.driver.failures import unavailable
from authsvc.driver.node import Node
from authsvc.driver.reader import HearValues, NodeReader, Value
from authsvc.errors import StoreUnavailable


class ClusterReader:
    """A reader for every node. Keys on a node that does not answer are known to be unknown; all others are read."""

    def __init__(self, cluster: ClusterMap) -> None:
        self._map = cluster
        self._readers: dict[Node, NodeReader] = {}
        self._reading: set[asyncio.Task[None]] = set()

    def read(self, wanted: Sequence[str], give_up_at: float, hear: HearValues) -> None:
        task = asyncio.get_running_loop().create_task(self._tell(wanted, give_up_at, hear))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _tell(self, wanted: Sequence[str], give_up_at: float, hear: HearValues) -> None:
        told: Sequence[Value] | StoreUnavailable = StoreUnavailable("the lookup was given up")
        try:
            told = await self._mget(wanted, give_up_at)
        except StoreUnavailable as error:
            told = error
        finally:
            hear(told)

    async def _mget(self, wanted: Sequence[str], give_up_at: float) -> Sequence[Value]:
        """The value of each key, or why it can't be known."""
        found: dict[str, Value] = {}
        try:
            async with asyncio.timeout_at(give_up_at):
                todo = {key: await self._map.route(key) for key in wanted}
                for _ in range(MAX_ATTEMPTS):
                    redirected = await self._read(todo, found, give_up_at)
                    if not redirected:
                        break
                    todo = await self._map.follow(redirected)
        except DRIVER_ERRORS as error:
            raise unavailable(error, self._map.metrics) from error
        unknown = StoreUnavailable("the cluster does not know where the key is")
        return [found.get(key, unknown) for key in wanted]

    async def close(self) -> None:
        for reader in self._readers.values():
            await reader.close()

    async def _read(
        self, todo: dict[str, Route], found: dict[str, Value], give_up_at: float
    ) -> dict[str, tuple[str, ResponseError]]:
        """Put the values into `found`; the keys that were redirected, with the redirection."""
        by_node: dict[Node, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for key, (node, asking) in todo.items():
            by_node[node][asking].append(key)
        redirected: dict[str, tuple[str, ResponseError]] = {}
        # A node that hangs must leave time to answer for the others.
        give_up_at = min(give_up_at, asyncio.get_running_loop().time() + self._map.timeouts.reply_s)
        answers = await asyncio.gather(*(self._from(node, *keys, give_up_at) for node, keys in by_node.items()))
        for key, value in (pair for pairs in answers for pair in pairs):
            if isinstance(value, ResponseError):
                redirected[key] = (key, value)
            else:
                found[key] = value
        return redirected

    async def _from(
        self, node: Node, here: list[str], asking: list[str], give_up_at: float
    ) -> list[tuple[str, Value | ResponseError]]:
        """The keys of one node with their values. asking: keys that are on their way to this node."""
        reader = self._readers.get(node) or self._readers.setdefault(node, NodeReader(node))
        try:
            values = [*await reader.get_each(here, give_up_at)] if here else []
            values += await reader.get_each(asking, give_up_at, asking=True) if asking else []
        except StoreUnavailable as error:
            self._map.suspect()
            values = [error] * (len(here) + len(asking))
        return list(zip(here + asking, values, strict=True))
