"""`GET /events` from real processes over real sockets: the end, several workers, crowds, and readers who don't read."""

import asyncio
import json
import logging
import os
import re
import signal
import socket
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Self

import pytest

from tests.e2e.conftest import Server
from tests.e2e.test_edge_stop import workers_of
from tests.processes import in_time, processes_on, until
from tests.streams import Told, named, parse

pytestmark = pytest.mark.slow

log = logging.getLogger(__name__)  # the figures: pytest -o log_cli=true -o log_cli_level=INFO

CROWD = 1000
# How long a stop takes without any streams, on a busy machine; the grace for requests under way is 10 s.
STOPPED_WITHIN_S = 4.0


def request_of(server: Server) -> bytes:
    credentials = b64encode(":".join(server.admin).encode()).decode()
    return f"GET /events HTTP/1.1\r\nHost: auth.test\r\nAuthorization: Basic {credentials}\r\n\r\n".encode()


class HttpStream:
    """A connection that reads events, each of which comes as one chunk of the answer."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.told: list[Told] = []
        self.ended_well = False
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> Self:
        await self._connect()
        await self.listen()
        return self

    async def keep_alive(self) -> Self:
        """Open the connection with another request. It stays open for the next one."""
        await self._connect()
        self._writer.write(b"GET /healthz HTTP/1.1\r\nHost: auth.test\r\n\r\n")
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None, head
        await self._reader.readexactly(int(length[1]))
        return self

    async def listen(self) -> None:
        self._writer.write(request_of(self._server))
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        self._task = asyncio.create_task(self._read())

    async def _connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._server.port)

    async def _read(self) -> None:
        try:
            while size := int(await self._reader.readline(), 16):
                chunk = await self._reader.readexactly(size + 2)
                self.told.append(parse(chunk.decode().strip()))
            self.ended_well = True
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # the connection broke

    async def hears(self, *names: str, seconds: float = 10.0) -> None:
        """Wait until events of these names have come in this order, after the events that are there now."""
        position = len(self.told)
        async with asyncio.timeout(seconds):
            for name in names:
                while name not in [told.name for told in self.told[position:]]:  # noqa: ASYNC110 - plain polling
                    await asyncio.sleep(0.01)
                position += [told.name for told in self.told[position:]].index(name) + 1

    async def forgets(self, key: str, seconds: float = 10.0) -> float:
        """When the digest of this key came."""
        async with asyncio.timeout(seconds):
            while True:
                for told in self.told:
                    if told.name == "forget" and named(key) <= set(told.data):
                        return told.at
                await asyncio.sleep(0.01)

    async def ended(self, seconds: float = 10.0) -> None:
        assert self._task is not None
        await asyncio.wait_for(self._task, seconds)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._writer.transport.abort()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


async def opened(server: Server, count: int) -> list[HttpStream]:
    streams = []
    for at in range(0, count, 50):
        streams += await asyncio.gather(*[HttpStream(server).open() for _ in range(at, min(at + 50, count))])
    return streams


async def follow(connections: Iterable[HttpStream]) -> None:
    """Read one stream after the other, each on the next of these connections, as an SDK does with its pool."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):  # the server has closed the connection meanwhile
        for connection in connections:
            await connection.listen()
            await connection.ended()
            assert connection.ended_well
            await asyncio.sleep(0.03)


@asynccontextmanager
async def followed(server: Server) -> AsyncIterator[None]:
    """While clients follow the stream, each with a pool of connections that the server keeps alive.

    At the end the server has stopped, and every stream has ended well.
    """
    pools = [[await HttpStream(server).keep_alive() for _ in range(4)] for _ in range(4)]
    following = [asyncio.create_task(follow(pool)) for pool in pools]
    for first, *_ in pools:
        await first.hears("heartbeat")
    yield
    await asyncio.gather(*following)
    await close(chain.from_iterable(pools))


def errors_in(server: Server) -> list[str]:
    return [line for line in server.log.splitlines() if json.loads(line)["level"] == "error"]


async def close(streams: Iterable[HttpStream]) -> None:
    await asyncio.gather(*[stream.close() for stream in streams])


def rss_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def reader_who_does_not_read(server: Server) -> socket.socket:
    """A connection that asks, has small buffers, and never takes what comes."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(request_of(server))
    return connection


def change_many(server: Server, count: int) -> None:
    with server.valkey() as valkey:
        for at in range(0, count, 1000):
            with valkey.pipeline(transaction=False) as pipeline:
                for number in range(at, at + 1000):
                    pipeline.set(f"session:made-up-{number}", 1, ex=60)
                pipeline.execute()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_stop_does_not_wait_for_streams(new_server: Callable[..., Server], workers: str) -> None:
    """SIGTERM ends every stream at once and in order, and one whose reader does not read holds nothing up."""
    server = new_server(AUTHSVC_WORKERS=workers)
    await asyncio.to_thread(server.start)
    stuck = reader_who_does_not_read(server)
    streams = await opened(server, 20)
    await streams[0].hears("heartbeat")
    await asyncio.to_thread(change_many, server, 200_000)
    await streams[0].hears("heartbeat")
    began = time.monotonic()
    stopping = asyncio.create_task(asyncio.to_thread(server.stop))
    await asyncio.gather(*[stream.ended(2) for stream in streams])
    assert all(stream.ended_well for stream in streams)
    assert await stopping == 0
    took_s = time.monotonic() - began
    log.info("%s workers stopped after %.2f s", workers, took_s)
    in_time(took_s, STOPPED_WITHIN_S)
    stuck.close()
    await close(streams)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_stop_does_not_wait_for_streams_that_come_back(new_server: Callable[..., Server], workers: str) -> None:
    """A stream that begins while the server stops ends at once: the stop takes no longer, and logs no error."""
    server = new_server(AUTHSVC_WORKERS=workers)
    await asyncio.to_thread(server.start)
    async with followed(server):
        began = time.monotonic()
        assert await asyncio.to_thread(server.stop) == 0
        took_s = time.monotonic() - began
    log.info("%s workers stopped after %.2f s", workers, took_s)
    in_time(took_s, STOPPED_WITHIN_S)
    assert errors_in(server) == []


async def test_a_replacement_does_not_wait_for_streams_that_come_back(new_server: Callable[..., Server]) -> None:
    """After SIGHUP no old worker waits for a stream that began while it stopped, until it is cut off with an error."""
    server = new_server(AUTHSVC_WORKERS="2")
    await asyncio.to_thread(server.start)
    assert server.process is not None
    await asyncio.to_thread(until, lambda: len(workers_of(server)) == 2)
    old = set(workers_of(server))
    async with followed(server):
        server.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(until, lambda: len(now := set(workers_of(server))) == 2 and not now & old)
        assert await asyncio.to_thread(server.stop) == 0
    assert errors_in(server) == []


async def test_every_worker_hears_of_every_change(new_server: Callable[..., Server]) -> None:
    """A change made through any worker, or in the store itself, is told to the subscribers of all."""
    server = new_server(AUTHSVC_WORKERS="2")
    await asyncio.to_thread(server.start)
    with server.valkey() as valkey, server.http() as http:
        streams: list[HttpStream] = []

        def followers() -> int:
            return sum(client["name"] == "authsvc-events" for client in valkey.client_list())

        while followers() < 2:  # which worker takes a connection is up to the system
            streams += await opened(server, 4)
            await streams[-1].hears("heartbeat")
            assert len(streams) < 200
        for name in ("ada", "grace", "alan", "edsger"):
            body = {"username": name, "password": "a walk by the river"}
            made = await asyncio.to_thread(http.post, "/admin/users", json=body, auth=server.admin)
            await asyncio.gather(*[stream.forgets(f"user:{{{made.json()['sub']}}}") for stream in streams])
        valkey.set("session:made-up", 1)
        await asyncio.gather(*[stream.forgets("session:made-up") for stream in streams])
    await close(streams)


async def test_a_store_that_is_killed(server: Server) -> None:
    """After a kill -9 of the store its successor is followed: `everything` comes before the next heartbeat."""
    (stream,) = await opened(server, 1)
    await stream.hears("heartbeat")
    (valkey,) = processes_on(server.data_dir)
    os.kill(valkey, signal.SIGKILL)
    position = len(stream.told)
    await stream.hears("everything")
    await stream.hears("heartbeat")
    # At most one was under way at the time.
    names = [told.name for told in stream.told[position:] if told.name != "forget"]
    first = names.index("everything")
    assert names[:first] in ([], ["heartbeat"])
    assert names[first + 1] == "heartbeat"
    with server.valkey() as client:
        client.set("session:afterwards", 1)
    await stream.forgets("session:afterwards")
    await stream.close()


async def test_a_crowd(server: Server) -> None:
    """A thousand subscribers of one worker hear of a change within a second; each costs some tens of kilobytes."""
    assert server.process is not None
    warm = await opened(server, 20)
    await warm[0].hears("heartbeat")
    before = rss_kib(server.process.pid)
    streams = await opened(server, CROWD)
    await asyncio.gather(*[stream.hears("heartbeat") for stream in streams])
    each_kib = (rss_kib(server.process.pid) - before) / CROWD
    with server.valkey() as valkey:
        valkey.set("session:made-up", 1)
        changed = time.monotonic()
        times = await asyncio.gather(*[stream.forgets("session:made-up") for stream in streams])
        slowest_s = max(times) - changed
        log.info("%d subscribers: %.1f KiB each, the last heard after %.3f s", CROWD, each_kib, slowest_s)
        assert each_kib < 60
        in_time(slowest_s, 1, "the last subscriber")
        await close([*warm, *streams])
        # Nobody is left, so nobody follows the store.
        await asyncio.to_thread(until, lambda: "authsvc-events" not in [c["name"] for c in valkey.client_list()])


async def test_readers_who_do_not_read(server: Server) -> None:
    """While 200,000 keys change, 20 connections that take nothing cost no more than their buffers; others hear all."""
    assert server.process is not None
    stuck = [reader_who_does_not_read(server) for _ in range(20)]
    (stream,) = await opened(server, 1)
    await stream.hears("heartbeat")
    await asyncio.to_thread(change_many, server, 200_000)  # until every buffer is full
    await stream.hears("heartbeat")
    before = rss_kib(server.process.pid)
    for _ in range(2):
        await asyncio.to_thread(change_many, server, 200_000)
        await stream.hears("heartbeat")
    grown_kib = rss_kib(server.process.pid) - before
    log.info("20 stuck readers, 400,000 changes: %d KiB more", grown_kib)
    assert grown_kib < 16 * 1024
    with server.valkey() as valkey:
        valkey.set("session:afterwards", 1)
    await stream.forgets("session:afterwards")
    for connection in stuck:
        connection.close()
    await stream.close()
