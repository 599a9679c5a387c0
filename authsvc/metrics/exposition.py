"""The HTTP server that Prometheus scrapes, on a port of its own."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import CollectorRegistry

from authsvc.metrics.registry import WorkerRegistry


@contextmanager
def exposed(workers: WorkerRegistry, listening: socket.socket) -> Iterator[None]:
    """Serve the metrics on this socket from a thread inside the `with` block."""
    registry = CollectorRegistry()
    registry.register(workers)
    server = _Server(listening)
    server.set_app(make_wsgi_app(registry))
    # prometheus-client would start a thread itself, but that thread takes half a second to end.
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingWSGIServer):
    """A server on a socket that listens already."""

    def __init__(self, listening: socket.socket) -> None:
        host, port, *_ = listening.getsockname()
        super().__init__((host, port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_name, self.server_port = host, port
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    """Logs no requests, and closes a connection that stays silent for `timeout` seconds."""

    timeout = 5

    def log_message(self, format: str, *args: object) -> None:
        pass
