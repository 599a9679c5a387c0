"""The fitness of a store follows from its own answers."""

import time
from pathlib import Path

import pytest

from authsvc.core.durability import DurabilityLevel
from authsvc.driver.connection import Connection
from authsvc.ops import fitness
from authsvc.ops.fitness import (
    EVICTING,
    LOADING,
    NO_WAITAOF,
    NOT_ON_DISK,
    OUTDATED,
    REPLICA,
    TOO_FEW_REPLICAS,
    Fault,
    Fitness,
    Server,
    faults_of,
)
from authsvc.ops.inspection import MAX_CLOCK_DIFFERENCE_S, clock_ahead
from authsvc.ops.rights import needed
from authsvc.store.keys import PATTERNS
from tests.conftest import PATIENT
from tests.stores import debian_redis, running_store
from tests.topologies import cluster, sentinels

FIT = {
    "redis_version": "7.2.4",
    "valkey_version": "9.1.2",
    "role": "master",
    "loading": "0",
    "maxmemory_policy": "noeviction",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "connected_slaves": "1",
    "slave0": "ip=10.0.0.2,port=6379,state=online,offset=28,lag=1,type=replica",
}
RIGHTS = needed(PATTERNS, "local")
ALWAYS = {"appendfsync": "always"}


def test_a_fit_store_has_no_faults() -> None:
    """Nothing is found at any level where there is nothing to find."""
    for durability in ("local", "replica", "disk"):
        assert faults_of(Server(FIT, ALWAYS), durability) == []


@pytest.mark.parametrize(
    ("changed", "config", "durability", "fault"),
    [
        ({"loading": "1"}, {}, "local", LOADING),
        ({"role": "slave"}, {}, "local", REPLICA),
        ({"valkey_version": "7.1.9"}, {}, "local", OUTDATED),
        ({"valkey_version": "", "redis_version": "6.2.20"}, {}, "local", OUTDATED),
        ({"maxmemory_policy": "allkeys-lru"}, {}, "local", EVICTING),
        ({"maxmemory_policy": "volatile-ttl"}, {}, "local", EVICTING),
        ({}, {"maxmemory-policy": "allkeys-lfu"}, "local", EVICTING),
        ({"valkey_version": "", "redis_version": "7.0.15"}, ALWAYS, "disk", NO_WAITAOF),
        ({"aof_enabled": "0"}, ALWAYS, "disk", NOT_ON_DISK),
        ({"aof_last_write_status": "err"}, ALWAYS, "disk", NOT_ON_DISK),
        ({}, {"appendfsync": "everysec"}, "disk", NOT_ON_DISK),
        ({"connected_slaves": "0", "slave0": ""}, {}, "replica", TOO_FEW_REPLICAS),
        ({"slave0": "ip=10.0.0.2,port=1,state=wait_bgsave,offset=0,lag=0"}, {}, "replica", TOO_FEW_REPLICAS),
        ({"slave0": "ip=10.0.0.2,port=1,state=online,offset=0,lag=11"}, {}, "replica", TOO_FEW_REPLICAS),
    ],
)
def test_each_fault_is_found(
    changed: dict[str, str], config: dict[str, str], durability: DurabilityLevel, fault: Fault
) -> None:
    """One thing wrong gives exactly its fault."""
    info = {name: text for name, text in (FIT | changed).items() if text}
    assert faults_of(Server(info, config), durability) == [fault]


def test_durability_is_asked_of_no_other_level() -> None:
    """No disk and no replica are nothing to level `local`."""
    bare = FIT | {"aof_enabled": "0", "connected_slaves": "0"}
    del bare["slave0"]
    assert faults_of(Server(bare), "local") == []


def test_what_is_not_known_is_not_held_against_a_store() -> None:
    """A managed store may forbid both INFO and CONFIG: that is no fault."""
    for durability in ("local", "replica", "disk"):
        assert faults_of(Server(), durability) == []


async def asked(url: str) -> Server:
    connection = Connection(url, timeouts=PATIENT)
    try:
        (server,) = await Fitness(connection, RIGHTS).servers()
    finally:
        await connection.close()
    return server


async def test_a_real_store_is_read() -> None:
    """The answers of a real server show its settings."""
    with running_store("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "allkeys-lru") as store:
        server = await asked(store.url)
    assert server.product == "valkey"
    assert server.version is not None
    assert server.version >= fitness.OLDEST["valkey"]
    assert (server.role, server.loading, server.eviction) == ("master", False, "allkeys-lru")
    assert (server.appends, server.append_fails, server.syncs) == (True, False, "always")
    assert server.good_replicas == 0


async def test_a_redis_is_read() -> None:
    """Debian's Redis 7.0 tells the same by the same names, and is as old as is supported."""
    if debian_redis() is None:
        pytest.skip("no redis-server on the PATH")
    with running_store(binary=debian_redis()) as store:
        server = await asked(store.url)
    assert server.product == "redis"
    assert server.version is not None
    assert server.version[:2] >= (7, 0)
    assert (server.eviction, server.appends, server.good_replicas) == ("noeviction", False, 0)
    assert faults_of(server, "local") == []


@pytest.mark.parametrize("forbidden", [["-config"], ["-config", "-info"]])
async def test_a_store_that_forbids_asking(forbidden: list[str]) -> None:
    """Without CONFIG, INFO tells most; without both, nothing is known and nothing fails."""
    with running_store("--maxmemory-policy", "allkeys-lru") as store, store.connect() as client:
        client.acl_setuser("svc", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", *forbidden])
        server = await asked(f"unix://svc:pw@{store.socket}")
    assert server.config == {}
    assert server.eviction == ("allkeys-lru" if len(forbidden) == 1 else None)
    assert server.syncs is None


async def test_a_store_is_asked_once_a_second() -> None:
    """A thousand probes cost the store one INFO each second, not a thousand."""
    with running_store() as store, store.connect() as client:
        connection = Connection(store.url, timeouts=PATIENT)
        reader = Fitness(connection, RIGHTS)
        for _ in range(1000):
            await reader.servers()
        await connection.close()
        assert client.info("commandstats")["cmdstat_info"]["calls"] <= 3  # one of them is this


async def test_every_primary_of_a_cluster_is_asked(tmp_path: Path) -> None:
    """One of three that evicts makes the store unfit, whichever it is."""
    with cluster(tmp_path) as store:
        connection = Connection(store.url, timeouts=PATIENT)
        try:
            for node in store.nodes:
                node.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
                servers = await Fitness(connection, RIGHTS).servers()
                assert len(servers) == 3
                assert [fault for server in servers for fault in faults_of(server, "local")] == [EVICTING]
                node.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        finally:
            await connection.close()


async def test_the_primary_behind_sentinels_is_asked(tmp_path: Path) -> None:
    """It tells of its replicas."""
    with sentinels(tmp_path) as store:
        server = await asked(store.url)
    assert (server.role, server.good_replicas) == ("master", 2)


async def test_a_clock_that_differs_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's clock against ours, which is an hour behind here."""
    really = time.time
    with running_store() as store:
        connection = Connection(store.url, timeouts=PATIENT)
        try:
            assert abs(await clock_ahead(connection) or 0) < MAX_CLOCK_DIFFERENCE_S
            monkeypatch.setattr("authsvc.ops.inspection.time.time", lambda: really() - 3600)
            ahead_s = await clock_ahead(connection)
        finally:
            await connection.close()
    assert ahead_s is not None
    assert 3590 < ahead_s < 3610
