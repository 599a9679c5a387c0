"""A proxy between the service and its store that does to single commands what networks do to them."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import hiredis

# The commands of redis-py on a new connection. They pass uncounted, so that command n is the n-th of the service.
_HANDSHAKE = {b"HELLO", b"AUTH", b"CLIENT", b"SELECT", b"ROLE"}


class Fault(Enum):
    """The ways in which the proxy disturbs a command."""

    CUT = "the connection breaks before the store gets the command"
    LOST = "the store executes the command, and the connection breaks before its reply"
    HANG = "the command is swallowed and the connection stays open"


@dataclass
class Plan:
    """The numbers of the commands to disturb, from 1 for the next one. then: the fault of all later commands."""

    fault: Fault
    at: int
    then: Fault | None = None

    def at_command(self, number: int) -> Fault | None:
        if number == self.at:
            return self.fault
        return self.then if number > self.at else None


class Cut(Exception):
    """The proxy is to break this connection now."""


@dataclass
class Proxy:
    """Forwards commands from its own unix socket to that of the store, one by one.

    `commands` are those counted since the last `arm`, by name. `delay_s` holds up every reply, `hang` swallows
    everything from now on, handshakes included; `refuse` closes the door.
    """

    path: Path
    store: str  # the store's url, on a unix socket
    delay_s: float = 0
    hang: bool = False
    commands: list[str] = field(default_factory=list)
    plan: Plan | None = None
    _server: asyncio.Server | None = None
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def url(self) -> str:
        return urlsplit(self.store)._replace(path=str(self.path)).geturl()

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    def arm(self, plan: Plan | None = None) -> None:
        """Count commands from here on, and follow the plan."""
        self.commands, self.plan = [], plan

    async def accept(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def refuse(self) -> None:
        """Break every connection, and stop to listen."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.path.unlink(missing_ok=True)
        while tasks := list(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connect(reader, writer)
        except asyncio.CancelledError:
            pass  # `refuse` or the end of the loop cancelled it; the callback of the stream would log that as an error
        finally:
            self._tasks.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            store_reader, store_writer = await asyncio.open_unix_connection(urlsplit(self.store).path)
        except OSError:
            writer.close()
            return
        except asyncio.CancelledError:
            writer.close()
            raise
        line = _Line(self, writer, store_writer)
        sides = [
            asyncio.ensure_future(line.requests(reader)),
            asyncio.ensure_future(line.replies(store_reader)),
        ]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # This comes first, because the wait for both sides may be cancelled, too.
            writer.close()
            store_writer.close()
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)


class _Line:
    """One connection: the commands so far, and the command whose reply must not arrive."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, store: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = client
        self._store = store
        self._forwarded = 0  # commands, handshakes included
        self._answered = 0
        self._lose: int | None = None  # the command whose reply is withheld; nothing after it is forwarded
        self._hung = False

    async def requests(self, reader: asyncio.StreamReader) -> None:
        with suppress(Cut, asyncio.IncompleteReadError, ConnectionError):
            while True:
                name, raw = await _command(reader)
                self._one(name, raw)

    def _one(self, name: bytes, raw: bytes) -> None:
        proxy = self._proxy
        if self._lose is not None or self._hung or proxy.hang:
            return
        fault = None
        if name not in _HANDSHAKE:
            proxy.commands.append(name.decode())
            fault = proxy.plan.at_command(len(proxy.commands)) if proxy.plan else None
        if fault is Fault.CUT:
            raise Cut
        if fault is Fault.HANG:
            self._hung = True
            return
        self._forwarded += 1
        if fault is Fault.LOST:
            self._lose = self._forwarded
        self._store.write(raw)

    async def replies(self, reader: asyncio.StreamReader) -> None:
        pending = object()
        parser = hiredis.Reader(notEnoughData=pending)
        with suppress(ConnectionError):
            while chunk := await reader.read(65536):
                parser.feed(chunk)
                while parser.gets() is not pending:
                    self._answered += 1
                if self._lose is not None and self._answered >= self._lose:
                    return  # earlier replies of this chunk are lost too, as in a network
                if self._proxy.delay_s:
                    await asyncio.sleep(self._proxy.delay_s)
                if not self._proxy.hang:
                    self._client.write(chunk)


async def _command(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The name of the next command, and its bytes."""
    raw = head = await reader.readuntil(b"\r\n")
    assert head.startswith(b"*"), "redis-py sends arrays of bulk strings"
    name = b""
    for index in range(int(head[1:])):
        size = await reader.readuntil(b"\r\n")
        value = await reader.readexactly(int(size[1:]) + 2)
        raw += size + value
        if index == 0:
            name = value[:-2].upper()
    return name, raw
