"""What a worker bears: the bounds of requests and connections, and how much of both there is at the moment."""

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
# All of a request as it is sent, with the overhead of chunks, their extensions and trailers. The body that is left
# without them is bounded more tightly by who reads it.
MAX_REQUEST = 1024 * 1024
# Requests that wait on one connection for their turn.
MAX_PIPELINED = 100

# From the opening of a connection, or the first byte of a request, to the end of its head; and to its own end.
HEAD_S = 10
REQUEST_S = 15
# How long a connection may be idle between requests.
KEEP_ALIVE_S = 5
# How long a client may take nothing of an answer.
STALL_S = 15
# How long, and how many bytes, we listen to who is still sending what we have refused.
LINGER_S = 2
MAX_DISCARDED = 1024 * 1024
# How long after the signal to stop idle connections stay open: a request that crosses with it is answered.
DRAIN_S = 1
# How often all connections are looked at, which is what these times are exact to; they end early rather than late.
SWEEP_S = 1

# Descriptors that connections leave to the rest of the worker: above all to its connections to the store.
RESERVED_DESCRIPTORS = 100
# Who is one too many is told so; beyond this many of them at a time, they are only closed.
MAX_TURNED_AWAY = 50


class Load:
    """How much one worker has to do, and how much it takes. It is in the state of the ASGI lifespan, as `load`."""

    def __init__(self, max_requests: int = 1000, max_connections: int = 10_000, metrics: Metrics | None = None) -> None:
        self.metrics = metrics or Metrics()
        self.max_requests = max_requests
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.max_connections = max(1, min(max_connections, descriptors - RESERVED_DESCRIPTORS))
        # Of the requests that have begun: answers without end, and bodies that have not come to theirs.
        self.streams = 0
        self.arriving = 0
        # Refused since the last look.
        self.refused = 0
        # The worker has been told to stop.
        self.draining = False

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """What is inside is an answer without end: not one of the requests in progress, but still a connection."""
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    def turn_away(self, what: Literal["request", "connection"]) -> None:
        """Count what is one too many; a connection may be closed without an answer."""
        self.refused += 1
        self.metrics.turned_away.add(what)

    def refuse(self, error: AuthError, status: int) -> None:
        """Count an answer that the application has nothing to do with."""
        self.metrics.requests.add(OTHER, OTHER, str(status))
        self.metrics.refusals.add(reason_of(error))

    def stop(self) -> None:
        self.draining = True


def raise_descriptors() -> None:
    """Take all the file descriptors that the system allows: its usual soft limit is for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
