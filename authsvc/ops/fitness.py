"""Whether the store is fit for this service: what each primary says about itself, and what that lacks."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from authsvc.core.durability import DurabilityLevel
from authsvc.driver.connection import Connection
from authsvc.driver.scripts import Command
from authsvc.ops.rights import Rights

# How long one answer to INFO is used again. Anybody may call /readyz, and INFO costs the store far more than the GET of
# a request. A change within this time is seen that much later.
FRESH_S = 1.0
# How long it counts that nothing is denied. Once something is, `FRESH_S` holds.
RIGHTS_FRESH_S = 10.0
# A replica acknowledges once a second; the server's own idea of a good one (min-replicas-max-lag) is 10 as well.
MAX_LAG_S = 10
# The script of every change is one of Redis 7 (`#!lua flags=`), and so is `SET … NX GET`.
OLDEST = {"redis": (7, 0), "valkey": (7, 2)}

# The first release with WAITAOF, for both products.
WAITAOF_SINCE = (7, 2)

_MIB = 2**20
_INFO: Command = ("INFO",)
# With a pattern, because Redis before 7 takes one name only; and one by one, because each may be refused.
_APPENDS: Command = ("CONFIG", "GET", "append*")


class Fault(NamedTuple):
    """Why the service should get no traffic. `code` is public, so it tells no version and no name."""

    code: str
    text: str


LOADING = Fault("loading", "the store is still loading its data")
REPLICA = Fault("replica", "the store is a replica: it takes no writes and may answer with what is out of date")
OUTDATED = Fault("outdated", "the store is older than Redis 7.0 or Valkey 7.2")
EVICTING = Fault("evicting", "the store drops records when memory is short: set maxmemory-policy noeviction")
NOT_ON_DISK = Fault(
    "not_on_disk", "AUTHSVC_DURABILITY=disk takes a store with appendonly yes and appendfsync always that can write"
)
NO_WAITAOF = Fault(
    "no_waitaof", "AUTHSVC_DURABILITY=disk needs Redis 7.2 or Valkey 7.2, or newer: older ones lack WAITAOF, so every "
    "revocation is a 503"
)  # fmt: skip
TOO_FEW_REPLICAS = Fault(
    "too_few_replicas", "AUTHSVC_DURABILITY=replica takes AUTHSVC_DURABILITY_REPLICAS that keep up"
)
NOT_SET_UP = Fault(
    "not_set_up",
    "the store holds no service record, because it was emptied or never used: restore its backup, or point the "
    "service at the right store and database",
)
NEWER_FORMAT = Fault(
    "newer_format", "an operator raised the store's format above what this version understands: run a newer version"
)


WRONG_FACTOR_KEY = Fault(
    "wrong_factor_key", "AUTHSVC_FACTOR_KEY_FILE lacks a key that one-time codes need: the file may hold several keys"
)


def forbidden(right: str) -> Fault:
    """The fault of a right that the store's ACL denies, by its name in an ACL: a command, or a pattern of keys."""
    return Fault(f"forbidden:{right}", f"the store's ACL forbids {right}: grant it, as deploy/valkey/users.acl does")


@dataclass(frozen=True, slots=True)
class Server:
    """One primary, by its own account. Where it does not say, because an ACL forbids asking, things are None.

    `info` and `config` are the fields of INFO and of CONFIG GET as text, empty when refused.
    """

    info: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)

    @property
    def product(self) -> str:
        return "valkey" if "valkey_version" in self.info else "redis"

    @property
    def version(self) -> tuple[int, ...] | None:
        # Valkey's redis_version is that of the Redis it can stand in for.
        text = self.info.get("valkey_version") or self.info.get("redis_version")
        return tuple(map(int, re.findall(r"[0-9]+", text)[:3])) if text else None

    @property
    def has_waitaof(self) -> bool:
        """Whether it can tell what is on its disk. A server without a known version counts as able."""
        return self.version is None or self.version[:2] >= WAITAOF_SINCE

    @property
    def role(self) -> str | None:
        return self.info.get("role")

    @property
    def loading(self) -> bool:
        return self.info.get("loading", "0") != "0"

    @property
    def eviction(self) -> str | None:
        return self.config.get("maxmemory-policy") or self.info.get("maxmemory_policy")

    @property
    def memory_limit(self) -> int | None:
        """The bytes that it may use; 0: without a limit."""
        limit = self.config.get("maxmemory") or self.info.get("maxmemory")
        return None if limit is None else int(limit)

    @property
    def memory_used(self) -> int | None:
        """The bytes that count for its limit. It refuses writes when they are more than that."""
        if "used_memory" not in self.info:
            return None
        # The buffers for replicas and for the append-only file do not count.
        return int(self.info["used_memory"]) - int(self.info.get("mem_not_counted_for_evict", 0))

    @property
    def memory_share(self) -> float:
        """The part of its limit that it uses; 0.0 where it has none, or does not say."""
        return (self.memory_used or 0) / self.memory_limit if self.memory_limit else 0.0

    @property
    def is_full(self) -> bool:
        """Whether the server refuses all writes but those that free memory."""
        return self.memory_share >= 1

    @property
    def memory(self) -> str | None:
        """How much memory it uses, and of how much if it has a limit: `1.8 of 1.0 MiB`. None: it does not say."""
        used = None if self.memory_used is None else f"{self.memory_used / _MIB:.1f}"
        limit = f"{self.memory_limit / _MIB:.1f}" if self.memory_limit else None
        if used is None and limit is None:
            return None
        return f"{' of '.join(filter(None, (used, limit)))} MiB"

    @property
    def appends(self) -> bool | None:
        """Whether it writes an append-only file."""
        enabled = self.info.get("aof_enabled")
        return None if enabled is None else enabled == "1"

    @property
    def append_fails(self) -> bool:
        return self.info.get("aof_last_write_status", "ok") != "ok"

    @property
    def snapshot_fails(self) -> bool:
        """Whether a snapshot could not be written. By default, a server that makes snapshots takes no writes then."""
        return self.info.get("rdb_last_bgsave_status", "ok") != "ok"

    @property
    def syncs(self) -> str | None:
        """When it syncs that file: `always`, `everysec`, `no`."""
        return self.config.get("appendfsync")

    @property
    def good_replicas(self) -> int | None:
        """Replicas that are connected and have acknowledged of late."""
        if "connected_slaves" not in self.info:
            return None
        lines = (value for name, value in self.info.items() if re.fullmatch(r"slave[0-9]+", name))
        replicas = (dict(pair.partition("=")[::2] for pair in line.split(",")) for line in lines)
        return sum(r.get("state") == "online" and 0 <= int(r.get("lag", -1)) <= MAX_LAG_S for r in replicas)


def faults_of(server: Server, durability: DurabilityLevel, replicas: int = 1) -> list[Fault]:
    """The reasons why this store is unfit. Only answers count: a store that says nothing has no fault."""
    faults = []
    if server.loading:
        faults.append(LOADING)
    if server.role not in (None, "master"):
        faults.append(REPLICA)
    if server.version is not None and server.version[:2] < OLDEST[server.product]:
        faults.append(OUTDATED)
    if server.eviction not in (None, "noeviction"):
        faults.append(EVICTING)
    unsynced = server.appends is False or server.append_fails or server.syncs not in (None, "always")
    if durability == "disk" and not server.has_waitaof:
        faults.append(NO_WAITAOF)
    if durability == "disk" and unsynced:
        faults.append(NOT_ON_DISK)
    if durability == "replica" and server.good_replicas is not None and server.good_replicas < replicas:
        faults.append(TOO_FEW_REPLICAS)
    return faults


class Fitness:
    """Asks the primaries about themselves and tries our rights there. Answers are used again for a moment."""

    def __init__(self, connection: Connection, rights: Rights) -> None:
        self._connection = connection
        self.rights = rights
        self._servers: tuple[Server, ...] | None = None
        self._asked_at = 0.0
        self._denied: list[str] | None = None
        self._tried_at = 0.0

    async def servers(self) -> tuple[Server, ...]:
        """Every primary, as of at most FRESH_S and one call ago. Raises StoreUnavailable."""
        now = time.monotonic()
        if self._servers is not None and now - self._asked_at < FRESH_S:
            return self._servers
        self._asked_at = now  # a call that comes meanwhile uses the last answer and does not ask again
        try:
            self._servers = await self._ask()
        except BaseException:
            self._servers = None
            raise
        return self._servers

    async def denied(self) -> list[str]:
        """The needed rights that the store denies us, by their names in an ACL. Raises StoreUnavailable."""
        now = time.monotonic()
        if self._denied is not None and now - self._tried_at < (FRESH_S if self._denied else RIGHTS_FRESH_S):
            return self._denied
        self._tried_at = now
        try:
            self._denied = await self._connection.denied(self.rights.commands, self.rights.patterns)
        except BaseException:
            self._denied = None
            raise
        return self._denied

    async def _ask(self) -> tuple[Server, ...]:
        replies = await self._connection.ask_primaries([_INFO, _APPENDS])
        return tuple(Server(parsed_info(info), parsed_config(config)) for info, config in replies)


def parsed_info(reply: bytes | None) -> dict[str, str]:
    lines = (reply or b"").decode(errors="replace").splitlines()
    return dict(line.partition(":")[::2] for line in lines if line and not line.startswith("#"))


def parsed_config(reply: Any) -> dict[str, str]:
    """From the pairs of RESP2 or the map of RESP3."""
    if isinstance(reply, dict):
        reply = [part for pair in reply.items() for part in pair]
    texts = [bytes(part).decode(errors="replace") for part in reply or ()]
    return dict(zip(texts[::2], texts[1::2], strict=True))
