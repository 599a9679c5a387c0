"""Answers leave in one piece, over a real socket."""

import asyncio
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from authsvc.web.protocol import BoundedProtocol

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


async def serving(written: list[bytes]) -> asyncio.Server:
    config = uvicorn.Config(application, http=BoundedProtocol, lifespan="off", log_config=None, server_header=False)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()

    class Protocol(BoundedProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(Counting(transport, written))  # type: ignore[arg-type]

    return await loop.create_server(lambda: Protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0)


async def exchange(path: str, *, times: int = 1) -> list[bytes]:
    """What is written to the socket, write by write, for requests one after another on one connection."""
    written: list[bytes] = []
    async with await serving(written) as server:
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
    """What an application sends now goes out now, though more will follow."""
    head, body = await exchange("/slow")
    assert head.endswith(b"\r\n\r\n")
    assert body == BODY


async def test_closing_loses_nothing() -> None:
    """A connection that is closed after the answer has sent all of it before."""
    (answer,) = await exchange("/close")
    assert answer.endswith(BODY)
