"""Facts about a store for the operator, beyond its fitness: its settings, our rights there, its clock."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from authsvc.driver.connection import Connection
from authsvc.driver.scripts import Command
from authsvc.ops.fitness import Server, parsed_config, parsed_info
from authsvc.ops.rights import USEFUL, Rights

# Commands that the service never needs, and that a stolen password of the service should not allow.
DANGEROUS: Mapping[str, Command] = {
    "CONFIG": ("CONFIG", "SET", "maxmemory", "0"),
    "FLUSHALL": ("FLUSHALL",),
    "KEYS": ("KEYS", "*"),
    "DEBUG": ("DEBUG", "SLEEP", "0"),
    "SHUTDOWN": ("SHUTDOWN",),
    "REPLICAOF": ("REPLICAOF", "NO", "ONE"),
    "ACL": ("ACL", "LIST"),
}
# A server loads its append-only file as the user `default`. Older versions skip transactions that `default` may not do.
_REPLAY: Command = ("ACL", "DRYRUN", "default", "SET", "throttle:rights", "")
# The first releases that load every transaction, whatever the rights of `default`.
LOADS_ALL = {"valkey": (9, 1, 2), "redis": (8, 4, 4)}
# Clocks that differ by more let records vanish early or late.
MAX_CLOCK_DIFFERENCE_S = 2
# One by one: each may be refused, and Redis before 7 takes one pattern only.
_PATTERNS = ("append*", "maxmemory*", "aof-load-truncated", "min-replicas-*", "save")


@dataclass(frozen=True, slots=True)
class Inspection:
    """One primary. Where it does not tell, things are None.

    allowed: those of DANGEROUS that we might do. door_open: whether the user `default` needs no password.
    default_writes: whether `default` has the right to write. ahead_s: how far its clock is ahead of ours.
    """

    server: Server = field(default_factory=Server)
    allowed: tuple[str, ...] | None = None
    door_open: bool | None = None
    default_writes: bool | None = None
    ahead_s: float | None = None

    @property
    def skips_transactions(self) -> bool | None:
        """Whether a restart loses the transactions in its append-only file."""
        server = self.server
        if self.default_writes or (server.version is not None and server.version >= LOADS_ALL[server.product]):
            return False
        return None if self.default_writes is None or server.version is None else True


@dataclass(frozen=True, slots=True)
class Denied:
    """The rights that an ACL denies us. needed: some call fails without them. useful: we learn less without them."""

    needed: tuple[str, ...]
    useful: tuple[str, ...]


async def denied(connection: Connection, needed: Rights) -> Denied:
    """Try all rights; changes nothing. Raises StoreUnavailable."""
    told = await connection.denied({**needed.commands, **USEFUL.commands}, needed.patterns)
    useful = tuple(name for name in told if name in USEFUL.commands)
    return Denied(tuple(name for name in told if name not in useful), useful)


async def inspect(connection: Connection) -> tuple[Inspection, ...]:
    """Look at every primary; changes nothing. Raises StoreUnavailable."""
    asked: list[Command] = [("INFO",), ("TIME",), ("ACL", "WHOAMI"), ("ACL", "GETUSER", "default")]
    asked += [_REPLAY]
    asked += [("CONFIG", "GET", pattern) for pattern in _PATTERNS]
    began = time.time()
    replies = await connection.ask_primaries(asked)
    now = (began + time.time()) / 2
    rights = await connection.ask_primaries(_dry_runs([who for _, _, who, *_ in replies]))
    return tuple(
        Inspection(
            server=Server(parsed_info(info), _config(configs)),
            allowed=_allowed(verdicts),
            door_open=_open(default),
            default_writes=_granted(writes),
            ahead_s=_seconds(clock, now),
        )
        for (info, clock, _, default, writes, *configs), verdicts in zip(replies, rights, strict=True)
    )


async def clock_ahead(connection: Connection) -> float | None:
    """How far a primary's clock is ahead of ours, in seconds. None: no primary tells its time.

    Of several clocks, the one that differs most counts.

    Raises StoreUnavailable.
    """
    began = time.time()
    replies = await connection.ask_primaries([("TIME",)])
    now = (began + time.time()) / 2
    told = [_seconds(clock, now) for (clock,) in replies]
    return max((ahead_s for ahead_s in told if ahead_s is not None), key=abs, default=None)


async def loses_at_restart(connection: Connection) -> bool:
    """Whether a primary with an append-only file would skip transactions in it. Raises StoreUnavailable."""
    replies = await connection.ask_primaries([("INFO",), _REPLAY])
    found = [Inspection(Server(parsed_info(info)), default_writes=_granted(writes)) for info, writes in replies]
    return any(one.server.appends and one.skips_transactions for one in found)


def _granted(verdict: bytes | None) -> bool | None:
    return None if verdict is None else verdict == b"OK"


def _dry_runs(names: Sequence[bytes | None]) -> list[Command]:
    # We are the same user everywhere; where that is not told, `default` is not tried in its place.
    name = next((name for name in names if name is not None), None)
    return [("ACL", "DRYRUN", name, *command) for command in DANGEROUS.values()] if name else [("PING",)]


def _allowed(verdicts: Sequence[Any]) -> tuple[str, ...] | None:
    if len(verdicts) != len(DANGEROUS) or None in verdicts:
        return None
    return tuple(name for name, verdict in zip(DANGEROUS, verdicts, strict=True) if verdict == b"OK")


def _open(default: Any) -> bool | None:
    if default is None:
        return None
    fields = default if isinstance(default, dict) else dict(zip(default[::2], default[1::2], strict=True))
    return {b"on", b"nopass"} <= set(fields[b"flags"])


def _seconds(reply: Sequence[bytes] | None, now: float) -> float | None:
    return None if reply is None else int(reply[0]) + int(reply[1]) / 1e6 - now


def _config(replies: Sequence[Any]) -> dict[str, str]:
    return {name: text for reply in replies for name, text in parsed_config(reply).items()}
