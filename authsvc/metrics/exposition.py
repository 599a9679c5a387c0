"""The HTTP server that Prometheus scrapes, on a port of its own."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import CollectorRegistry

from authsvc.errors import StartupError
from authsvc.metrics.registry import WorkerRegistry


@contextmanager
def exposed(workers: WorkerRegistry, host: str, port: int | None) -> Iterator[None]:
    """Serve the metrics from a thread inside the `with` block. port None: no server. Raises StartupError."""
    if port is None:
        yield
        return
    registry = CollectorRegistry()
    registry.register(workers)
    kind = _V6 if ":" in host else ThreadingWSGIServer
    try:
        server = make_server(host, port, make_wsgi_app(registry), kind, _Handler)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise StartupError(f"can't serve metrics on {host}, port {port}: {why}") from None
    # prometheus-client would start a thread itself, but that thread takes half a second to end.
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _V6(ThreadingWSGIServer):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    """Logs no requests, and closes a connection that stays silent for `timeout` seconds."""

    timeout = 5

    def log_message(self, format: str, *args: object) -> None:
        pass
