"""A transport that sends the answers of one turn of the event loop in one write."""

import asyncio
from typing import Any, Protocol

from uvicorn.protocols.http.flow_control import FlowControl


class Sender(Protocol):
    """The parts of a connection that its transport needs."""

    loop: asyncio.AbstractEventLoop
    flow: FlowControl
    discarding: bool

    def is_sending(self) -> bool:
        """Whether the client may still be sending."""


class CorkedTransport:
    """The connection's own transport. Writes of one turn of the event loop go out together, in order."""

    def __init__(self, transport: asyncio.Transport, protocol: Sender) -> None:
        self._transport = transport
        self._protocol = protocol
        self._held: list[bytes] = []
        self._lingering = False

    def write(self, data: bytes) -> None:
        if not self._held:
            self._protocol.loop.call_soon(self._flush)
        self._held.append(data)

    def is_closing(self) -> bool:
        return self._lingering or self._transport.is_closing()

    def close(self) -> None:
        """End the connection. A client that is still sending gets an end of file first.

        The operating system answers bytes that nobody reads with a reset, and a reset makes the client drop an answer
        that it has not read yet. So the service reads on until the client stops.
        """
        self._flush()
        if self._protocol.is_sending() and not self.is_closing():
            self._lingering = self._protocol.discarding = True
            self._transport.write_eof()
            self._protocol.flow.resume_reading()
        else:
            self._transport.close()

    def end(self) -> None:
        """Close at once, also while the client is sending."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held:
            try:
                self._transport.write(b"".join(held))
            except Exception:
                self._transport.abort()  # its client must not wait for an answer that never comes
                raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
