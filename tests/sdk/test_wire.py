"""The moment from which a stream of changes counts."""

import asyncio
import socket
import time
from typing import Any

import pytest

from authsvc.sdk import clock
from authsvc.sdk.wire import Wire

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
