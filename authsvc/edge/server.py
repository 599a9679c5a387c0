"""uvicorn's server, which checks its connections once a second and ends in time after a signal."""

import asyncio
import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket
from types import FrameType
from typing import Any, cast

import uvicorn

from authsvc.edge import limits
from authsvc.edge.limits import Load
from authsvc.edge.protocol import BoundedProtocol

log = logging.getLogger(__name__)

# How long requests in progress may still take after SIGTERM. With a second for the service's parts and two for an
# embedded Valkey, the process ends within the ten seconds that Docker allows.
GRACE_S = 7


class ConsoleProtocol(BoundedProtocol):
    """A connection to the port of the console: another application in the same process, without the fast path."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.app = self._service = self.app_state["console"]


class Server(uvicorn.Server):
    """One worker. The first socket is the service's, a second one the console's.

    A signal only ends it; uvicorn would raise the signal again, before the embedded store stops."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the supervisor starts a worker with it blocked
        # A terminal that goes away sends SIGHUP to all its processes. A worker leaves it to its parent.
        end = self.config.workers == 1
        loop.add_signal_handler(signal.SIGHUP, self.handle_exit if end else _ignore, signal.SIGHUP, None)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGHUP:
            log.info("SIGHUP: stopping, because only a service with several workers can replace them")
        self.should_exit = True
        # A second Ctrl-C ends the server at once. A worker gets SIGTERM from its parent after the first one.
        self.force_exit = self.force_exit or (sig == signal.SIGINT and sig in self._captured_signals)
        self._captured_signals.append(sig)

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets and sockets[:1])
        for console in (sockets or [])[1:]:
            loop = asyncio.get_running_loop()
            self.servers.append(await loop.create_server(self._console, sock=console, backlog=self.config.backlog))
        self._sweeping = asyncio.create_task(self._sweep())

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        if (load := self._load) is not None:
            load.stop()
        await super().shutdown(sockets)
        self._sweeping.cancel()

    def _console(self) -> ConsoleProtocol:
        return ConsoleProtocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state, _loop=None
        )

    @property
    def _load(self) -> Load | None:
        return cast(Load | None, self.lifespan.state.get("load"))

    async def _sweep(self) -> None:
        """Close overdue connections, update the gauges, and log how many requests were rejected."""
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
