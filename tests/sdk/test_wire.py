"""HTTP with a service: bounds on its answers, and the moment from which a stream of changes counts."""

import asyncio
import gzip
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from authsvc_sdk import clock
from authsvc_sdk.errors import Misconfigured, Unavailable
from authsvc_sdk.wire import Wire

SLOW_S = 0.3
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: everything\ndata: {}\n\n"


async def test_connecting_is_no_part_of_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream counts from the moment when its request is sent, however long connecting took."""
    found_at = 0.0
    resolve = socket.getaddrinfo

    def slowly(*arguments: Any, **options: Any) -> Any:
        nonlocal found_at
        time.sleep(SLOW_S)  # blocks a thread only: the test is about this delay
        found_at = clock.now()
        return resolve(*arguments, **options)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(STREAM)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    wire = Wire(f"http://localhost:{server.sockets[0].getsockname()[1]}", ("backend", "secret"), 5, None)
    began = clock.now()
    async with server:
        async with wire.events(2) as (requested_at, stream):
            assert [chunk async for chunk in stream]
        await wire.aclose()
    assert found_at >= began + SLOW_S
    assert found_at <= requested_at <= clock.now()


@asynccontextmanager
async def wire_to(*pieces: bytes) -> AsyncIterator[tuple[Wire, list[int]]]:
    """A wire to a server that answers everything with these pieces, and how many bytes the server could send."""
    sent: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                sent.append(len(piece))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    wire = Wire(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", ("backend", "secret"), 5, None)
    async with server:
        yield wire, sent
        await wire.aclose()


@pytest.mark.parametrize("tokens", [["one"], ["one", "two"]], ids=["one", "batch"])
async def test_a_long_answer_is_not_read(tokens: list[str]) -> None:
    """The SDK stops reading an answer that is longer than any answer of the service, and can't tell."""
    endless = [b"HTTP/1.1 200 OK\r\n\r\n", *[b" " * 65536] * 1000]
    async with wire_to(*endless) as (wire, sent):
        with pytest.raises(Unavailable, match="over"):
            await wire.introspect(tokens)
        assert sum(sent) < 500 * 65536


async def test_a_compressed_answer_is_not_unpacked() -> None:
    """An answer that unpacks to a thousand times its size costs no memory."""
    bomb = gzip.compress(b" " * 10_000_000 + json.dumps({"active": False}).encode())
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with wire_to(head + bomb) as (wire, _):
        with pytest.raises(Unavailable, match="compressed"):
            await wire.introspect(["one"])


async def test_a_deeply_nested_answer_is_no_answer() -> None:
    """The SDK can't tell, as with every answer that it can't read. It never fails in another way."""
    async with wire_to(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000) as (wire, _):
        with pytest.raises(Unavailable, match="not JSON"):
            await wire.introspect(["one"])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    """A redirect cannot send the SDK's secret and a token to another place. It counts as a refusal of the client."""
    head = f"HTTP/1.1 {status} X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with wire_to(head.encode()) as (wire, sent):
        with pytest.raises(Misconfigured):
            await wire.introspect(["one"])
        with pytest.raises(Misconfigured):
            async with wire.events(2):
                pass
        assert len(sent) == 2  # one response to each of the two requests
