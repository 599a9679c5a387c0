"""A network between a resource server and the service, with faults that a test switches on."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self


class Network:
    """Forwards a local port to another, from a thread of its own.

    swallowed: how many chunks a black hole has dropped.
    held: how many chunks of answers wait for `hold(False)`.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self.swallowed = 0
        self.held = 0
        self._holding = False
        self._hole = False
        self._speed = 1.0
        self._slow_since = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def hole(self, now: bool = True) -> None:
        """Drop everything from now on, without closing or refusing a connection."""
        self._hole = now

    def hold(self, now: bool = True) -> None:
        """Hold back the answers to questions, but not the stream of changes."""
        self._holding = now

    def slow(self, speed: float) -> None:
        """Deliver the stream of changes at this fraction of its speed, so that it falls further and further behind."""
        self._speed, self._slow_since = speed, time.monotonic()

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._open())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:  # `close` would wait for a side that reads nothing
            writer.transport.abort()
        await asyncio.sleep(0)  # the loop closes them in its next turn

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line(self)
        self._writers.add(writer)
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.close()
            return
        self._writers.add(up_writer)
        sides = [
            asyncio.ensure_future(line.pump(reader, up_writer, requests=True)),
            asyncio.ensure_future(line.pump(up_reader, writer, requests=False)),
        ]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            while self._hole:  # noqa: ASYNC110 - another thread sets it; a hole also hides a closed connection
                await asyncio.sleep(0.05)
        finally:
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)
            writer.close()
            up_writer.close()

    def due(self, arrived: float) -> float:
        """When to deliver a chunk of the stream of changes that arrived at this moment."""
        if self._speed == 1.0 or arrived < self._slow_since:
            return arrived
        return self._slow_since + (arrived - self._slow_since) / self._speed

    async def pass_answer(self) -> None:
        if not self._holding:
            return
        self.held += 1
        while self._holding:  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.01)
        self.held -= 1


class _Line:
    """One connection, and whether it carries the stream of changes."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._is_stream = False
        self._dead = False

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, requests: bool) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivery = asyncio.ensure_future(self._deliver(queue, writer, requests))
        try:
            with suppress(ConnectionError):
                while chunk := await reader.read(65536):
                    if requests:
                        self._is_stream = chunk.startswith(b"GET /events")
                    if not self._swallows():
                        queue.put_nowait((time.monotonic(), chunk))
            queue.put_nowait((time.monotonic(), b""))
            await delivery
        finally:
            delivery.cancel()

    async def _deliver(
        self, queue: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter, requests: bool
    ) -> None:
        while True:
            arrived, chunk = await queue.get()
            if self._is_stream:
                await asyncio.sleep(max(self._network.due(arrived) - time.monotonic(), 0))
            elif not requests:
                await self._network.pass_answer()
            if not chunk:
                return
            if not self._swallows():
                writer.write(chunk)

    def _swallows(self) -> bool:
        # A connection that has lost a chunk stays dead: TCP never delivers the chunks after a gap.
        if self._network._hole:
            self._dead = True
            self._network.swallowed += 1
        return self._dead
