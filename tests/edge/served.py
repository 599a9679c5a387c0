"""The service on real sockets, with the fast path or without, for requests in bytes."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from authsvc.edge.fast_cycle import Headers
from authsvc.edge.fast_path import FastPath
from authsvc.edge.fast_protocol import FastProtocol
from authsvc.edge.limits import Load
from authsvc.edge.protocol import BoundedProtocol
from tests.conftest import Service
from tests.edge.test_protocol import eventually

FORM = b"application/x-www-form-urlencoded"


def request_of(headers: Headers, body: bytes, target: bytes = b"/introspect") -> bytes:
    fields = [(b"Host", b"auth.test"), *headers, (b"Content-Length", b"%d" % len(body))]
    lines = b"".join(b"%s: %s\r\n" % field for field in fields)
    return b"POST %s HTTP/1.1\r\n%s\r\n%s" % (target, lines, body)


class CountingPath(FastPath):
    """The fast path, counting the answers that it gave."""

    given = 0

    def answer(self, *arguments: Any, **options: Any) -> bytes | None:
        answer = super().answer(*arguments, **options)
        self.given += answer is not None
        return answer


class Connection:
    """One connection to a server, as a client has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, headers without the request's id, body."""
        head = (await self.reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in head[1:])}
        headers.pop(b"x-request-id")
        body = await self.reader.readexactly(int(headers[b"content-length"]))
        return int(head[0].split()[1]), headers, body

    async def ask(self, request: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
        self.writer.write(request)
        return await self.answer()


class Served:
    """The service on a real socket, with the fast path or without."""

    def __init__(self, service: Service, *, fast: bool = True, max_requests: int = 1000, traced: bool = False) -> None:
        self.fast_path = CountingPath(service.deps, traced=traced)
        self.load = Load(max_requests, metrics=service.deps.metrics)
        self.state = ServerState()
        self.state.default_headers = [(b"date", b"today"), (b"strict-transport-security", b"max-age=31536000")]
        self.fast = fast
        self.config = uvicorn.Config(service.app, lifespan="off", log_config=None, server_header=False)
        self.config.load()
        self.protocols: list[BoundedProtocol] = []
        self._clients: list[Connection] = []

    def protocol(self) -> BoundedProtocol:
        made = (FastProtocol if self.fast else BoundedProtocol)(
            config=self.config, server_state=self.state, app_state={"fast_path": self.fast_path, "load": self.load}
        )
        self.protocols.append(made)
        return made

    @property
    def answered_fast(self) -> int:
        """How many answers the fast path has given."""
        return self.fast_path.given

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        async with self.listening() as address:
            yield await self.client(address)

    async def client(self, address: tuple[str, int]) -> Connection:
        """A new connection, which is closed when the server stops listening."""
        connection = Connection(*await asyncio.open_connection(*address))
        self._clients.append(connection)
        return connection

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[tuple[str, int]]:
        """The address of the server. At the end no socket stays open on either side."""
        server = await asyncio.get_running_loop().create_server(self.protocol, "127.0.0.1", 0)
        async with server:
            try:
                yield server.sockets[0].getsockname()
            finally:
                for connection in self._clients:
                    connection.writer.close()
                    with suppress(ConnectionError):
                        await connection.writer.wait_closed()
                self._clients.clear()
                # uvicorn takes a connection out of this set when it is lost.
                await eventually(lambda: not self.state.connections)


def basic(client_id: str, secret: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{client_id}:{secret}".encode())


async def turns(count: int) -> None:
    """Let the event loop, and with it the server, run for a while."""
    for _ in range(count * 5):
        await asyncio.sleep(0)
