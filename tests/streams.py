"""A subscriber of `GET /events`, which keeps each event that it gets."""

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from starlette.types import ASGIApp, Message, Scope

from authsvc.store import keys
from tests.processes import Stopwatch

WITHIN_S = 60.0  # a second on an idle machine


@dataclass(frozen=True)
class Told:
    """One event. at: on the monotonic clock."""

    name: str
    data: Any
    at: float


def parse(text: str) -> Told:
    """Read one event from its two lines."""
    first, second = text.split("\n")
    return Told(first.removeprefix("event: "), json.loads(second.removeprefix("data: ")), time.monotonic())


def named(*names: str) -> set[str]:
    """The digests of these keys."""
    return {keys.digest(name.encode()) for name in names}


class Stream:
    """A request to the ASGI application. The stream is open while the context is open.

    told: all events so far. reading: a test clears it to play a client that reads nothing.
    """

    def __init__(self, app: ASGIApp, auth: tuple[str, str], method: str = "GET") -> None:
        self._app = app
        credentials = b64encode(":".join(auth).encode())
        self.scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": "/events",
            "raw_path": b"/events",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"auth.test"), (b"authorization", b"Basic " + credentials)],
            "client": ("192.0.2.1", 50000),
            "server": ("auth.test", 80),
        }
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.told: list[Told] = []
        self.ended = False
        self.reading = asyncio.Event()
        self.reading.set()
        self._left = asyncio.Event()
        self._asked = False
        self._seen = 0
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._task = asyncio.ensure_future(self._app(self.scope, self._receive, self._send))
        await self.until(lambda: self.status > 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._left.set()
        self.reading.set()
        await asyncio.wait_for(self._task, WITHIN_S)

    async def until(self, done: Callable[[], Any], seconds: float = WITHIN_S) -> None:
        watch = Stopwatch()
        while (left := seconds - watch.seconds()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left), self._changed:
                    await self._changed.wait_for(done)
                    return
        raise TimeoutError(f"not within {seconds} s")

    async def next(self, name: str, seconds: float = WITHIN_S) -> Told:
        """The next event with this name after the last call. Other events in between are skipped."""

        def found() -> bool:
            while self._seen < len(self.told):
                self._seen += 1
                if self.told[self._seen - 1].name == name:
                    return True
            return False

        await self.until(found, seconds)
        return self.told[self._seen - 1]

    async def forgets(self, *names: str, seconds: float = WITHIN_S) -> None:
        """Wait until events after the last call of `next` have named the digests of these keys."""
        await self.until(lambda: named(*names) <= self.forgotten(), seconds)

    def forgotten(self) -> set[str]:
        """All digests in events after the last call of `next`."""
        return {digest for told in self.told[self._seen :] if told.name == "forget" for digest in told.data}

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            await self.reading.wait()
            self.body += message.get("body", b"")
            *whole, _ = message.get("body", b"").decode().split("\n\n")
            self.told += [parse(text) for text in whole] if self.status == 200 else []
            self.ended = not message.get("more_body", False)
        async with self._changed:
            self._changed.notify_all()
