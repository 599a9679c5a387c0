"""A TCP proxy that delays, swallows, drops and resets whole connections, as a network does."""

import asyncio
import random
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Self


class Proxy:
    """Forwards its port to another one. A change of an attribute takes effect at once.

    - delay_s: the delay of each reply, or a function that returns it.
    - black_hole: swallow both directions and keep the connections open.
    - drop_every: throw away each n-th piece of a reply and break its connection. The command has been executed then.
    - most: the greatest number of open connections so far.
    """

    def __init__(self, port: int, upstream: int) -> None:
        self.port = port
        self.upstream = upstream
        self.delay_s: float | Callable[[], float] = 0.0
        self.black_hole = False
        self.drop_every = 0
        self.dropped = 0
        self.most = 0
        self._replies = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=1024)

    async def close(self) -> None:
        """Stop listening and reset every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    def reset(self) -> None:
        for writer in list(self._open):
            raw = writer.get_extra_info("socket")
            if raw is not None:
                with suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self.most = max(self.most, len(self._open))
        store: asyncio.StreamWriter | None = None
        try:
            replies, store = await asyncio.open_connection("127.0.0.1", self.upstream)
            ways = {asyncio.ensure_future(self._requests(reader, store)),
                    asyncio.ensure_future(self._replies_to(writer, replies))}  # fmt: skip
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass  # the store is down: the connection of the caller ends
        finally:
            self._open.discard(writer)
            writer.close()
            if store is not None:
                store.close()

    async def _requests(self, reader: asyncio.StreamReader, store: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            if not self.black_hole:
                store.write(chunk)

    async def _replies_to(self, writer: asyncio.StreamWriter, replies: asyncio.StreamReader) -> None:
        while chunk := await replies.read(65536):
            self._replies += 1
            if self.drop_every and self._replies % self.drop_every == 0:
                self.dropped += 1
                return
            delay_s = self.delay_s() if callable(self.delay_s) else self.delay_s
            if delay_s:
                await asyncio.sleep(delay_s)
            if not self.black_hole:
                writer.write(chunk)


def up_to(seconds: float) -> Callable[[], float]:
    """A random delay for each reply."""
    return lambda: random.uniform(0, seconds)
