"""An outage costs each request milliseconds, after the first ones have waited; and it is over when it is over."""

import asyncio
import time
from pathlib import Path

import pytest

from authsvc.driver.breaker import MIN_FAILURES, PROBE_S
from authsvc.driver.connection import Connection
from authsvc.errors import StoreUnavailable
from tests import topologies
from tests.topologies import Server


async def fails(connection: Connection, key: str = "a") -> float:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await connection.call("GET", key)
    return time.monotonic() - began


async def answers_again(connection: Connection, key: str = "a") -> float:
    began = time.monotonic()
    while True:
        try:
            await connection.call("GET", key)
            return time.monotonic() - began
        except StoreUnavailable:
            assert time.monotonic() - began < 5, "still closed"
            await asyncio.sleep(0.01)


async def test_a_server_that_hangs(tmp_path: Path) -> None:
    """After the first failures, of a hundred calls only those that probe wait; running again it is soon asked again."""
    with topologies.standalone(tmp_path) as server:
        connection = Connection(server.url)
        await connection.call("SET", "a", 1)
        server.pause()
        first = await asyncio.gather(*(fails(connection) for _ in range(MIN_FAILURES)))
        assert max(first) < 1.2
        waits = [await fails(connection) for _ in range(100)]
        assert sorted(waits)[-3] < 0.05, "more than two of them waited"
        assert sum(waits) < 1.2
        server.resume()
        assert await answers_again(connection) < PROBE_S + 1
        await connection.close()


async def test_the_shared_lookups(tmp_path: Path) -> None:
    """The same for the lanes of introspection, and for writes, which have their own."""
    with topologies.standalone(tmp_path) as server:
        connection = Connection(server.url)
        lane = connection.lane()
        loop = asyncio.get_running_loop()
        assert await lane.mget(["a"], loop.time() + 1) == [None]
        server.pause()
        waited = []
        for _ in range(MIN_FAILURES + 20):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await lane.mget(["a"], loop.time() + 0.4)
            waited.append(time.monotonic() - began)
        assert max(waited[MIN_FAILURES:]) < 0.05
        server.resume()
        await asyncio.sleep(PROBE_S)
        assert await lane.mget(["a"], loop.time() + 1) == [None]
        await lane.close()
        await connection.close()


async def test_writes_that_hang_do_not_stop_reads(tmp_path: Path) -> None:
    """As during a failover: who writes is kept waiting, and who reads is answered."""
    with topologies.standalone(tmp_path) as server:
        connection = Connection(server.url)
        server.call("CLIENT", "PAUSE", 60000, "WRITE")

        async def write() -> None:
            with pytest.raises(StoreUnavailable):
                await connection.call("SET", "a", 1)

        await asyncio.gather(*(write() for _ in range(MIN_FAILURES)))
        began = time.monotonic()
        await write()
        assert time.monotonic() - began < 0.05
        assert await connection.call("GET", "a") is None
        await connection.close()


async def test_a_closed_door_is_no_reason_to_stay_away(tmp_path: Path) -> None:
    """Being refused costs nothing, so that a server that is started again is used at once."""
    with topologies.standalone(tmp_path) as server:
        connection = Connection(server.url)
        await connection.call("GET", "a")
        server.kill()
        for _ in range(3 * MIN_FAILURES):
            assert await fails(connection) < 0.2
        await asyncio.to_thread(server.start)
        assert await connection.call("GET", "a") is None
        await connection.close()


async def test_each_node_of_a_cluster_has_its_own(tmp_path: Path) -> None:
    """One that hangs costs those nothing who ask the others."""
    with topologies.cluster(tmp_path, "cluster-require-full-coverage no", "cluster-node-timeout 15000") as cluster:
        connection = Connection(cluster.url)
        await connection.batch([("GET", "a"), ("GET", "b"), ("GET", "c")])
        hung: Server = cluster.primary_of("a")
        other = next(name for name in ("b", "c", "d", "e", "f") if cluster.primary_of(name) is not hung)
        hung.pause()
        await asyncio.gather(*(fails(connection) for _ in range(MIN_FAILURES)))
        assert await fails(connection) < 0.05
        began = time.monotonic()
        assert await connection.call("GET", other) is None
        assert time.monotonic() - began < 0.1
        hung.resume()
        assert await answers_again(connection) < PROBE_S + 1
        await connection.close()
