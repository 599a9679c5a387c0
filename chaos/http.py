"""A small HTTP client over asyncio streams. It makes thousands of calls a second and can break a connection.

httpx is not used: one call of httpx takes longer than the answer of the service, and httpx cannot reset a connection in
the middle of a request.
"""

import asyncio
import json
import socket
import struct
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode


class NoAnswer(Exception):
    """The connection broke, or the answer did not come in time."""


@dataclass(frozen=True)
class Answer:
    """An HTTP response. `headers`: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        try:
            found = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {"items": found}


@dataclass
class Line:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, request: bytes) -> Answer:
        """Send a request and read its answer. Raises NoAnswer."""
        try:
            self.writer.write(request)
            return await self.answer()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            raise NoAnswer(type(error).__name__) from None

    async def answer(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(first.split(" ")[1]), headers, body)

    def reset(self) -> None:
        """Break the connection with a RST, like a peer that has crashed."""
        raw = self.writer.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


async def connect(port: int) -> Line:
    """Raises NoAnswer."""
    try:
        return Line(*await asyncio.open_connection("127.0.0.1", port))
    except OSError as error:
        raise NoAnswer(type(error).__name__) from None


class Http:
    """Calls one port. Keeps its connections open: as many as there were calls at the same time."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._idle: list[Line] = []

    async def call(
        self,
        method: str,
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        document: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10,
    ) -> Answer:
        """Raises NoAnswer."""
        request = encoded(method, path, form=form, document=document, headers=headers)
        try:
            async with asyncio.timeout(timeout_s):
                line = self._idle.pop() if self._idle else await connect(self.port)
                try:
                    answer = await line.ask(request)
                except BaseException:
                    line.close()
                    raise
        except TimeoutError:
            raise NoAnswer("TimeoutError") from None
        if answer.headers.get("connection", "").lower() == "close":
            line.close()
        else:
            self._idle.append(line)
        return answer

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{client_id}:{secret}".encode()).decode()}


def encoded(
    method: str,
    path: str,
    *,
    form: Mapping[str, str] | None = None,
    document: Any = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """The bytes of a request."""
    body, lines = b"", {"Host": "localhost"} | dict(headers or {})
    if form is not None:
        body, lines["Content-Type"] = urlencode(form).encode(), "application/x-www-form-urlencoded"
    elif document is not None:
        body, lines["Content-Type"] = json.dumps(document).encode(), "application/json"
    if body or method != "GET":
        lines["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body
