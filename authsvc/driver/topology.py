"""The shapes a store can have, one server or a cluster of them, behind the same two verbs: deliver and walk."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from authsvc.driver.node import Address, Command, Node


class Parcel(NamedTuple):
    """Commands on one hash slot, that of `key`, which travel on one connection in this order."""

    key: str
    commands: Sequence[Command]


class Heard(Protocol):
    """A server that is being listened to."""

    @property
    def address(self) -> Address:
        """Where it was found."""

    async def ask(self, *command: str) -> Any:
        """Its reply."""


class Topology(Protocol):
    """Where commands go. Raises StoreUnavailable and what redis-py raises; refusals are in the place of replies."""

    async def deliver(self, parcels: Sequence[Parcel]) -> list[list[Any]]:
        """The replies to each parcel's commands."""

    async def primaries(self) -> Sequence[Node]:
        """All that hold keys, in an order that a failover does not change."""

    async def writable(self) -> Sequence[Node]:
        """All on which a key may be changed, as is known now."""

    async def covered(self, heard: Sequence[Heard]) -> bool:
        """Whether these are all on which a key may be changed, as is known now."""

    async def close(self) -> None: ...


class Single:
    """One server, or the one that the sentinels name."""

    def __init__(self, node: Node) -> None:
        self.node = node

    async def deliver(self, parcels: Sequence[Parcel]) -> list[list[Any]]:
        return await deliver_to(self.node, parcels)

    async def primaries(self) -> Sequence[Node]:
        return [self.node]

    async def writable(self) -> Sequence[Node]:
        return [self.node]

    async def covered(self, heard: Sequence[Heard]) -> bool:
        return await self.node.is_named(heard[0].address)

    async def close(self) -> None:
        await self.node.close()


async def deliver_to(node: Node, parcels: Sequence[Parcel]) -> list[list[Any]]:
    replies = iter(await node.send([command for parcel in parcels for command in parcel.commands]))
    return [[next(replies) for _ in parcel.commands] for parcel in parcels]
