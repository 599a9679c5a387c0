"""The limits of one worker: how large and how slow a request may be, and how many the worker takes at a time."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from authsvc.errors import AuthError
from authsvc.metrics import Metrics, reason_of
from authsvc.metrics.families import OTHER

# Request line and header fields together, and how many fields.
MAX_HEAD = 16 * 1024
MAX_FIELDS = 100
# A whole request as it is sent, with the overhead of chunks, their extensions and trailers. The reader of the body
# applies a tighter limit to the body alone.
MAX_REQUEST = 1024 * 1024
# Requests that wait on one connection for their turn.
MAX_PIPELINED = 100

# From the opening of a connection, or the first byte of a request, to the end of the head, and to the end of the body.
HEAD_S = 10
REQUEST_S = 15
# How long a client may take nothing of an answer.
STALL_S = 15
# How long, and how many bytes, the service reads on after it has refused a request that is still being sent.
LINGER_S = 2
MAX_DISCARDED = 1024 * 1024
# How long after the signal to stop idle connections stay open: a request that crosses with the signal is answered.
DRAIN_S = 1
# How often every connection is checked. The times above are exact to this; connections end early rather than late.
SWEEP_S = 1

# File descriptors that connections leave to the rest of the worker, above all to its connections to the store.
RESERVED_DESCRIPTORS = 100
# Connections above the limit get a 503. Above this second limit they are closed without an answer.
MAX_TURNED_AWAY = 50


class Load:
    """How much one worker has to do, and how much it takes. The ASGI lifespan's state holds it as `load`."""

    def __init__(
        self,
        max_requests: int = 1000,
        max_connections: int = 10_000,
        metrics: Metrics | None = None,
        *,
        keep_alive_s: int = 75,
    ) -> None:
        """keep_alive_s: how long a connection may be idle between two requests."""
        self.metrics = metrics or Metrics()
        self.keep_alive_s = keep_alive_s
        self.max_requests = max_requests
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.max_connections = max(1, min(max_connections, descriptors - RESERVED_DESCRIPTORS))
        # Of the requests that have an ASGI task: streams without end, and requests whose body is still arriving.
        self.streams = 0
        self.arriving = 0
        # Requests on the fast path, which have no ASGI task, while the store is asked.
        self.on_fast_path = 0
        # Requests and connections rejected since the last sweep.
        self.rejected = 0
        # Whether the worker has been told to stop.
        self.draining = False

    def in_progress(self, tasks: int) -> int:
        """How many requests are in progress. tasks: how many have an ASGI task."""
        return tasks + self.on_fast_path - self.streams - self.arriving

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """Count a stream, an answer without end: still a connection, but no longer a request in progress."""
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    def count_rejected(self, what: Literal["request", "connection"]) -> None:
        """Count a request or connection above the limits. A connection may have been closed without an answer."""
        self.rejected += 1
        self.metrics.turned_away.add(what)

    def count_refused(self, error: AuthError, status: int) -> None:
        """Count an error that the edge answers without the application."""
        self.metrics.requests.add(OTHER, OTHER, str(status))
        self.metrics.refusals.add(reason_of(error))

    def stop(self) -> None:
        self.draining = True


def raise_descriptors() -> None:
    """Raise the soft limit on file descriptors to the hard one. The usual soft limit is for programs with select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
