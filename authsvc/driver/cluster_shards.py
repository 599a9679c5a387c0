"""What a node of a cluster knows of its primaries: where a key may be changed, and whether somebody listens there.

That is every primary, also one without slots: a slot on its way there is written to there before it is owned there.
"""

from collections.abc import Collection, Iterator
from typing import Any

from authsvc.driver.node import Address


def addresses(shards: list[Any], host: str, *, tls: bool) -> list[Address]:
    """Of every primary that has not failed. host: of whom told it, which may not know its own name."""
    port = b"tls-port" if tls else b"port"
    return [
        ((node[b"endpoint"] or b"").decode() or host, node[port])
        for shard in shards
        for node in _primaries(shard)
        if not _failed(node)
    ]


def covered(shards: list[Any], heard: Collection[bytes]) -> bool:
    """Whether these ids are of all primaries. One that has failed counts until another has its slots."""
    for shard in shards:
        primaries = list(_primaries(shard))
        if any(node[b"id"] not in heard for node in primaries if not _failed(node)):
            return False
        if _fields(shard)[b"slots"] and not any(node[b"id"] in heard for node in primaries):
            return False
    return True


def _primaries(shard: Any) -> Iterator[dict[bytes, Any]]:
    return (node for node in map(_fields, _fields(shard)[b"nodes"]) if node[b"role"] == b"master")


def _failed(node: dict[bytes, Any]) -> bool:
    return bool(node[b"health"] in (b"fail", b"failed"))  # the one is said, the other is documented


def _fields(told: Any) -> dict[bytes, Any]:
    """A map, which is a list of names and values in RESP2."""
    return told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
