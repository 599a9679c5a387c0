"""The reads of introspection on one server. Many callers share them."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from redis.exceptions import ResponseError

from authsvc.driver.failures import unavailable
from authsvc.driver.node import Node
from authsvc.driver.redis_py import pack
from authsvc.errors import StoreUnavailable

# The value of a key; None if the key is absent; StoreUnavailable if its node of a cluster does not answer.
Value = bytes | StoreUnavailable | None
# Gets the values in the order of their keys, or the error in their place. It raises nothing.
HearValues = Callable[[Sequence[Value] | StoreUnavailable], None]

_ASKING = ("ASKING",)

T = TypeVar("T")


class Reader(Protocol):
    """Reads keys for many callers at once."""

    def read(self, wanted: Sequence[str], give_up_at: float, hear: HearValues) -> None:
        """Read these keys. give_up_at: on the event loop's clock. Raises StoreUnavailable, as Connection does."""

    async def close(self) -> None: ...


class NodeReader:
    """Reads from one server on a connection of its own.

    A pool checks, lends, times and takes back a connection for every command. For the reads of introspection that
    costs more than the command itself.
    """

    def __init__(self, node: Node) -> None:
        self._pipe = node.new_pipe()
        self._metrics = node.metrics

    def read(self, wanted: Sequence[str], give_up_at: float, hear: HearValues) -> None:
        self._pipe.send(pack(("MGET", *wanted)), 1, give_up_at, partial(self._hear_first, hear))

    async def get_each(self, wanted: Sequence[str], give_up_at: float, *, asking: bool = False) -> Sequence[Any]:
        """Each value, or the redirection in its place. In a cluster no command may name keys of two slots.

        asking: whether the keys are on their way to this node. Raises StoreUnavailable.
        """
        commands = [command for key in wanted for command in ([_ASKING] if asking else []) + [("GET", key)]]
        replies: asyncio.Future[Sequence[Any]] = asyncio.get_running_loop().create_future()
        self._pipe.send(b"".join(map(pack, commands)), len(commands), give_up_at, partial(settle, replies))
        told = await replies
        return told[1::2] if asking else told

    async def close(self) -> None:
        await self._pipe.close()

    def _hear_first(self, hear: HearValues, replies: Sequence[Any] | StoreUnavailable) -> None:
        told = replies if isinstance(replies, StoreUnavailable) else replies[0]
        # A redirection: the URL names one server, and the server is a node of a cluster.
        hear(unavailable(told, self._metrics) if isinstance(told, ResponseError) else told)


def settle(future: "asyncio.Future[T]", told: T | Exception) -> None:
    """Give a caller that waits for a future what a callback was told. Its caller may have been cancelled meanwhile."""
    if future.done():
        return
    if isinstance(told, Exception):
        future.set_exception(told)
    else:
        future.set_result(told)
