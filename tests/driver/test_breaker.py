"""While a server does not answer, the breaker lets calls fail fast. It closes as soon as the server is back."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from authsvc.driver.breaker import MIN_FAILURES, PROBE_S, SLOW_S
from authsvc.driver.connection import Connection
from authsvc.driver.deadline import request_budget
from authsvc.driver.timeouts import Timeouts
from authsvc.errors import StoreUnavailable
from tests import topologies
from tests.driver.reading import read
from tests.topologies import ServerProcess


def by_breaker(error: StoreUnavailable) -> bool:
    return "did not answer a moment ago" in str(error)


async def refused(call: Awaitable[Any]) -> bool:
    """Let the call fail. Whether the breaker refused it, instead of letting it wait for the server."""
    with pytest.raises(StoreUnavailable) as failed:
        await call
    return by_breaker(failed.value)


async def reply_to(call: Callable[[], Awaitable[Any]]) -> Any:
    """The server's reply. On a busy machine it may be late for a few calls, but the breaker refuses none."""
    errors: list[StoreUnavailable] = []
    while len(errors) < MIN_FAILURES:
        try:
            return await call()
        except StoreUnavailable as error:
            errors.append(error)
            if by_breaker(error):
                break
    raise errors[-1]


async def answers_again(call: Callable[[], Awaitable[Any]]) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            await call()
            return
        except StoreUnavailable:
            assert time.monotonic() < deadline, "the breaker stays open"
            await asyncio.sleep(0.01)


async def opens(call: Callable[[], Awaitable[Any]]) -> None:
    """Let calls hang. After MIN_FAILURES of them only probes wait for the server."""
    assert not any(await asyncio.gather(*(refused(call()) for _ in range(MIN_FAILURES))))
    began = time.monotonic()
    waited = [await refused(call()) for _ in range(100)].count(False)
    assert waited <= 1 + (time.monotonic() - began) / PROBE_S


async def test_a_server_that_hangs(tmp_path: Path) -> None:
    """After the first failures only probes wait for a server that hangs. Once it runs again, calls reach it."""
    with topologies.standalone(tmp_path) as server:
        connection = Connection(server.url)
        await connection.call("SET", "a", 1)
        server.pause()
        await opens(lambda: connection.call("GET", "a"))
        server.resume()
        await answers_again(lambda: connection.call("GET", "a"))
        await connection.close()


@pytest.mark.slow
async def test_shared_lookups_have_the_breaker_of_reads(tmp_path: Path) -> None:
    """When lookups hang, other reads are refused as well."""
    with topologies.standalone(tmp_path) as server:
        connection = Connection(server.url)
        readers = [connection.reader() for _ in range(MIN_FAILURES)]
        loop = asyncio.get_running_loop()
        for reader in readers:
            assert await read(reader, loop.time() + 5) == [None]
        server.pause()
        await asyncio.gather(*(refused(read(reader, loop.time() + 2 * SLOW_S)) for reader in readers))
        assert await refused(connection.call("GET", "a"))
        assert await refused(read(readers[0], loop.time() + 5))
        server.resume()
        await answers_again(lambda: read(readers[0], loop.time() + 1))
        for reader in readers:
            await reader.close()
        await connection.close()


async def test_writes_that_hang_do_not_stop_reads(tmp_path: Path) -> None:
    """During a failover writes may hang. Reads have a breaker of their own and are answered."""
    with topologies.standalone(tmp_path) as server:
        connection = Connection(server.url)
        server.call("CLIENT", "PAUSE", 60000, "WRITE")
        await opens(lambda: connection.call("SET", "a", 1))
        assert await reply_to(lambda: connection.call("GET", "a")) is None
        await connection.close()


async def test_a_refused_connection_does_not_open_the_breaker(tmp_path: Path) -> None:
    """A refused connection costs no time, so the server is used as soon as it starts again."""
    with topologies.standalone(tmp_path) as server:
        connection = Connection(server.url)
        await connection.call("GET", "a")
        server.kill()
        for _ in range(3 * MIN_FAILURES):
            assert not await refused(connection.call("GET", "a"))
        await asyncio.to_thread(server.start)
        assert await reply_to(lambda: connection.call("GET", "a")) is None
        await connection.close()


@pytest.mark.slow
async def test_each_node_of_a_cluster_has_its_own_breaker(tmp_path: Path) -> None:
    """While a node hangs, only calls to that node are refused."""
    with topologies.cluster(tmp_path, "cluster-require-full-coverage no", "cluster-node-timeout 15000") as cluster:
        connection = Connection(cluster.url)
        await connection.batch([("GET", "a"), ("GET", "b"), ("GET", "c")])
        hung: ServerProcess = cluster.primary_of("a")
        other = next(name for name in ("b", "c", "d", "e", "f") if cluster.primary_of(name) is not hung)
        hung.pause()
        await asyncio.gather(*(refused(connection.call("GET", "a")) for _ in range(MIN_FAILURES)))
        assert await refused(connection.call("GET", "a"))
        assert await reply_to(lambda: connection.call("GET", other)) is None
        hung.resume()
        await answers_again(lambda: connection.call("GET", "a"))
        await connection.close()


async def test_a_wait_for_a_connection_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The breaker stays closed when calls give up because other calls have all the connections."""
    monkeypatch.setattr("authsvc.driver.redis_py.MAX_CONNECTIONS", 1)
    with topologies.standalone(tmp_path) as server:
        connection = Connection(server.url, timeouts=Timeouts(reply_s=10, call_s=10, pool_s=10))

        async def ask() -> Any:
            with request_budget(SLOW_S * 1.2):
                return await connection.call("GET", "a")

        holder = asyncio.create_task(connection.call("BLPOP", "nothing", 2))
        await asyncio.sleep(0)
        for _ in range(2):
            assert not any(await asyncio.gather(*(refused(ask()) for _ in range(2 * MIN_FAILURES))))
        assert not holder.done()
        await holder
        assert await ask() is None
        await connection.close()
