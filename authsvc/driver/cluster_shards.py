"""The reply to CLUSTER SHARDS: which primaries there are, and whether all of them are being tracked.

A primary without slots counts as well: while a slot moves there, keys are written there before it owns the slot.
"""

from collections.abc import Collection, Iterator
from typing import Any

from authsvc.driver.urls import HostPort


def addresses(shards: list[Any], host: str, *, tls: bool) -> list[HostPort]:
    """The addresses of all primaries that have not failed.

    host: that of the node which sent the reply; this node may not know its own name.
    """
    port = b"tls-port" if tls else b"port"
    return [
        ((node[b"endpoint"] or b"").decode() or host, node[port])
        for shard in shards
        for node in _primaries(shard)
        if not _failed(node)
    ]


def covered(shards: list[Any], tracked: Collection[bytes]) -> bool:
    """Whether these ids are those of all primaries. A failed primary counts until another one has its slots."""
    for shard in shards:
        primaries = list(_primaries(shard))
        if any(node[b"id"] not in tracked for node in primaries if not _failed(node)):
            return False
        if _fields(shard)[b"slots"] and not any(node[b"id"] in tracked for node in primaries):
            return False
    return True


def _primaries(shard: Any) -> Iterator[dict[bytes, Any]]:
    return (node for node in map(_fields, _fields(shard)[b"nodes"]) if node[b"role"] == b"master")


def _failed(node: dict[bytes, Any]) -> bool:
    return bool(node[b"health"] in (b"fail", b"failed"))  # servers say "fail"; the documentation says "failed"


def _fields(told: Any) -> dict[bytes, Any]:
    """A map as a dictionary. In RESP2 it is a list of names and values."""
    return told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
