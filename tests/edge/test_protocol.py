"""Answers leave in one piece, over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from authsvc.edge.limits import Load
from authsvc.edge.protocol import BoundedProtocol
from authsvc.metrics import Metrics
from authsvc.web.middleware.last_resort import LastResort
from authsvc.web.scope import END
from tests.web.conftest import assert_problem

BODY = b"x" * 300


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/empty":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        return
    headers = [(b"content-length", b"300")]
    if scope["path"] == "/close":
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/slow":
        await asyncio.sleep(0.02)
    await send({"type": "http.response.body", "body": BODY[:150], "more_body": True})
    await send({"type": "http.response.body", "body": BODY[150:]})


class Counting:
    """A connection's own transport, counting how often it is written to."""

    def __init__(self, transport: asyncio.Transport, written: list[bytes]) -> None:
        self._transport = transport
        self._written = written

    def write(self, data: bytes) -> None:
        self._written.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@asynccontextmanager
async def serving(
    written: list[bytes],
    app: ASGIApp = application,
    state: dict[str, Any] | None = None,
    connections: set[BoundedProtocol] | None = None,
) -> AsyncIterator[asyncio.Server]:
    """A server. At the end none of its connections is open."""
    config = uvicorn.Config(app, http=BoundedProtocol, lifespan="off", log_config=None, server_header=False)
    config.load()
    server_state = ServerState()
    loop = asyncio.get_running_loop()

    class Protocol(BoundedProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            if connections is not None:
                connections.add(self)
            super().connection_made(Counting(transport, written))  # type: ignore[arg-type]

    async with await loop.create_server(
        lambda: Protocol(config=config, server_state=server_state, app_state=state or {}), "127.0.0.1", 0
    ) as server:
        yield server
        await eventually(lambda: not server_state.connections)


async def exchange(path: str, *, times: int = 1) -> list[bytes]:
    """The writes to the socket for requests one after another on one connection."""
    written: list[bytes] = []
    async with serving(written) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(times):
            writer.write(b"GET %s HTTP/1.1\r\nHost: auth.test\r\n\r\n" % path.encode())
            received = await reader.readuntil(b"\r\n\r\n")
            if path != "/empty":
                received += await reader.readexactly(len(BODY))
        if path == "/close":
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert b"".join(written).endswith(received)
    return written


async def eventually(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


async def test_head_and_body_arrive_together() -> None:
    """Each answer is one write, request after request on one connection."""
    pieces = await exchange("/", times=50)
    assert len(pieces) == 50
    for piece in pieces:
        assert piece.startswith(b"HTTP/1.1 200")
        assert piece.endswith(b"\r\n\r\n" + BODY)


async def test_an_answer_without_body() -> None:
    """A head alone is sent too."""
    for piece in await exchange("/empty", times=3):
        assert piece.startswith(b"HTTP/1.1 204")
        assert piece.endswith(b"\r\n\r\n")


async def test_nothing_waits_for_a_later_turn() -> None:
    """The first part of an answer goes out at once, though more will follow."""
    head, body = await exchange("/slow")
    assert head.endswith(b"\r\n\r\n")
    assert body == BODY


async def test_closing_loses_nothing() -> None:
    """A connection that is closed after the answer has sent all of it before."""
    (answer,) = await exchange("/close")
    assert answer.endswith(BODY)


async def test_streams_are_no_requests_in_progress() -> None:
    """An answer without end says so, and others are served beside any number of them; it hears when to end."""
    load = Load(max_requests=1)
    connections: set[BoundedProtocol] = set()
    ended = 0

    async def streams(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal ended
        if scope["path"] == "/":
            await application(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with scope["state"]["load"].streaming():
            await send({"type": "http.response.body", "body": b"data", "more_body": True})
            told = asyncio.Event()
            scope[END] = told.set
            await told.wait()
        await send({"type": "http.response.body", "body": b"end"})
        ended += 1

    async with asyncio.timeout(10), serving([], streams, {"load": load}, connections) as server:
        address = server.sockets[0].getsockname()
        open_ = [await asyncio.open_connection(*address) for _ in range(4)]
        for reader, writer in open_[:3]:
            writer.write(b"GET /stream HTTP/1.1\r\nHost: auth.test\r\n\r\n")
            assert b" 200 " in await reader.readuntil(b"data\r\n")
        assert load.streams == 3
        reader, writer = open_[3]
        writer.write(b"GET / HTTP/1.1\r\nHost: auth.test\r\n\r\n")
        assert b" 200 " in await reader.readuntil(BODY)
        load.stop()
        for protocol in connections:
            protocol.shutdown()
        for reader, _ in open_[:3]:
            await reader.readuntil(b"end\r\n0\r\n\r\n")
        assert (ended, load.streams) == (3, 0)
        for _, writer in open_:
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize("behind", [b"GET / HTTP/1.1\r\nHost: auth.test\r\n\r\n" * count for count in (1, 2)])
async def test_a_stop_ends_a_stream_before_the_requests_behind_it(behind: bytes) -> None:
    """A stream hears when to end, also if its client has sent more requests. They are answered, the last with close."""
    load, connections = Load(), set[BoundedProtocol]()

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            await application(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data", "more_body": True})
        told = asyncio.Event()
        scope[END] = told.set
        await told.wait()
        await send({"type": "http.response.body", "body": b"end"})

    async with asyncio.timeout(10), serving([], stream, {"load": load}, connections) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"GET /stream HTTP/1.1\r\nHost: auth.test\r\n\r\n" + behind)
        await reader.readuntil(b"data\r\n")
        load.stop()
        for protocol in connections:
            protocol.shutdown()
        rest = await reader.read()
        assert rest.startswith(b"3\r\nend\r\n0\r\n\r\n")
        assert rest.count(BODY) == behind.count(b"GET")
        assert rest.count(b"connection: close") == 1
        writer.close()
        await writer.wait_closed()


async def test_a_connection_that_crosses_with_the_stop() -> None:
    """A connection that was accepted before the stop, and is noticed after it, is closed if nothing comes."""
    load = Load()
    load.stop()
    async with asyncio.timeout(10), serving([], state={"load": load}) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_bodies_that_broke_off_are_forgotten() -> None:
    """Requests that never arrive, given up by their clients or refused by us, leave nothing counted."""
    load = Load(max_requests=1)
    head = b"POST / HTTP/1.1\r\nHost: auth.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving([], state={"load": load}) as server:
        for end in (b"1\r\na\r\n", b"1\r\na\r\nzz\r\n", b"1\r\na\r\n0\r\n\r\n"):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(head)
            await eventually(lambda: load.arriving == 1)
            writer.write(end)
            if len(end) > 6:
                await reader.readuntil(b"\r\n\r\n")
            writer.close()
            await writer.wait_closed()
            await eventually(lambda: load.arriving == 0)


async def test_a_fault_outside_of_starlette() -> None:
    """An error in the outermost middleware is a 500 in the one shape too, and uvicorn logs it."""

    async def broken(*_: Any) -> None:
        raise RuntimeError("the password was tok_secret")

    worker = LastResort(broken, Metrics())
    transport = httpx.ASGITransport(app=worker, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://auth.test") as http:
        answer = await http.get("/")
    assert_problem(answer, 500, "server_error")
    assert "tok_secret" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    transport = httpx.ASGITransport(app=worker)
    async with httpx.AsyncClient(transport=transport, base_url="http://auth.test") as http:
        with pytest.raises(RuntimeError):
            await http.get("/")
