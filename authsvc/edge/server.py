"""uvicorn's server, looking after its connections and ended by a signal within a bound."""

import asyncio
import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket
from types import FrameType
from typing import cast

import uvicorn

from authsvc.edge import limits
from authsvc.edge.limits import Load
from authsvc.edge.protocol import BoundedProtocol

log = logging.getLogger(__name__)

# How long requests under way may still take after SIGTERM. With a second for our parts and two for an embedded Valkey,
# all has ended within the ten seconds that Docker allows.
GRACE_S = 7


class Server(uvicorn.Server):
    """One worker. A signal only ends it: uvicorn's way is to raise it again, before our store has stopped."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        # A terminal that goes away tells all its processes: what is alone ends, and a worker leaves it to its parent.
        end = self.config.workers == 1
        loop.add_signal_handler(signal.SIGHUP, self.handle_exit if end else _ignore, signal.SIGHUP, None)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True
        # Only somebody who presses Ctrl-C again has no patience; a worker gets SIGINT and its parent's SIGTERM.
        self.force_exit = self.force_exit or (sig == signal.SIGINT and sig in self._captured_signals)
        self._captured_signals.append(sig)

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self._sweeping = asyncio.create_task(self._sweep())

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        if (load := self._load) is not None:
            load.stop()
        await super().shutdown(sockets)
        self._sweeping.cancel()

    @property
    def _load(self) -> Load | None:
        return cast(Load | None, self.lifespan.state.get("load"))

    async def _sweep(self) -> None:
        """Close what is overdue, and say once for all what was refused meanwhile."""
        connections = cast(set[BoundedProtocol], self.server_state.connections)
        while True:
            await asyncio.sleep(limits.SWEEP_S)
            now = time.monotonic()
            for connection in tuple(connections):
                connection.check_time(now)
            load = self._load
            if load is None:
                continue
            load.metrics.connections.set(len(connections))
            load.metrics.requests_in_progress.set(load.in_progress(len(self.server_state.tasks)))
            if load.rejected:
                log.warning("%d requests or connections refused, above the limits", load.rejected)
                load.rejected = 0


def _ignore(*_: object) -> None:
    pass
