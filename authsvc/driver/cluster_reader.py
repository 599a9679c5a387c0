"""The shared reads of introspection on a cluster: each key is read from its own node, all of them at once."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from redis.exceptions import RedisError, ResponseError

from authsvc.driver.cluster import MAX_ATTEMPTS, Cluster, Route
from authsvc.driver.node import REPLY_TIMEOUT_S, Node
from authsvc.errors import StoreUnavailable

if TYPE_CHECKING:
    from authsvc.driver.connection import Lane

Value = bytes | StoreUnavailable | None


class ClusterLane:
    """A lane to every node. What is on a node that does not answer is known to be unknown; the rest is read."""

    def __init__(self, cluster: Cluster, lane: "Callable[[Node], Lane]") -> None:
        self._cluster = cluster
        self._new_lane = lane
        self._lanes: dict[Node, Lane] = {}

    async def mget(self, wanted: Sequence[str], give_up_at: float) -> list[Value]:
        """The values of these keys, or why one can't be known. give_up_at: on the event loop's clock."""
        found: dict[str, Value] = {}
        try:
            async with asyncio.timeout_at(give_up_at):
                todo = {key: await self._cluster.route(key) for key in wanted}
                for _ in range(MAX_ATTEMPTS):
                    redirected = await self._read(todo, found, give_up_at)
                    if not redirected:
                        break
                    todo = await self._cluster.follow(redirected)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(type(error).__name__) from error
        unknown = StoreUnavailable("the cluster does not know where it is")
        return [found.get(key, unknown) for key in wanted]

    async def close(self) -> None:
        for lane in self._lanes.values():
            await lane.close()

    async def _read(
        self, todo: dict[str, Route], found: dict[str, Value], give_up_at: float
    ) -> dict[str, tuple[str, ResponseError]]:
        by_node: dict[Node, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for key, (node, asking) in todo.items():
            by_node[node][asking].append(key)
        redirected: dict[str, tuple[str, ResponseError]] = {}
        # A node that hangs must leave time to answer for the others.
        give_up_at = min(give_up_at, asyncio.get_running_loop().time() + REPLY_TIMEOUT_S)
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
        lane = self._lanes.get(node) or self._lanes.setdefault(node, self._new_lane(node))
        try:
            values = await lane.get_each(here, give_up_at) if here else []
            values += await lane.get_each(asking, give_up_at, asking=True) if asking else []
        except StoreUnavailable as error:
            self._cluster.suspect()
            values = [error] * (len(here) + len(asking))
        return list(zip(here + asking, values, strict=True))
