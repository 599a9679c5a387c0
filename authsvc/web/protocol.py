"""uvicorn's HTTP protocol, sending each answer in one piece.

uvicorn writes the head of a response and its body one by one, which is two system calls and wakes the reader twice. For
answers as small as ours that is a good part of what they cost.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from authsvc.web.events import END

# What a stream that was told to end gets for it; its reader may not be reading.
_END_WITHIN_S = 0.5


class Corked:
    """A transport whose writes of one turn of the event loop go out together, in order."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            self._transport.write(b"".join(self._held))
            self._held.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class OnePieceProtocol(HttpToolsProtocol):
    """Answers go out in one piece, and those that never end by themselves end with the server."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]  # it is one, in all that is used

    def shutdown(self) -> None:
        super().shutdown()
        end = self.cycle.scope.get(END) if self.cycle is not None else None
        if end is not None:
            end()  # type: ignore[operator]  # a scope holds anything
            self.loop.call_later(_END_WITHIN_S, self.transport.abort)
