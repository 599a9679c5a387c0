"""Traces of a real service arrive where OpenTelemetry's own variables say."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.e2e.conftest import Server
from tests.processes import until

pytest.importorskip(
    "opentelemetry.exporter.otlp.proto.http", reason="OpenTelemetry is not installed: pip install '.[otel]'"
)

TRACE = "0af7651916cd43dd8448eb211c80319c"
CONTEXT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


class Collector(ThreadingHTTPServer):
    """Takes what is exported."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.taken = b""


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken += body
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_real_service_exports(new_server: Callable[..., Server], collector: Collector) -> None:
    """Told where, it sends the spans of requests with a context, introspections too, in its own name; at the latest
    when it ends. An introspection without one takes the fast path, and has none."""
    server = new_server(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.server_port}", OTEL_BSP_SCHEDULE_DELAY="100"
    ).start()
    httpx.post(f"{server.url}/introspect", data={"token": "tok_x"}, auth=server.admin)
    httpx.get(f"{server.url}/healthz")
    until(lambda: b"GET /healthz" in collector.taken)
    assert b"POST /introspect" not in collector.taken
    httpx.post(f"{server.url}/introspect", data={"token": "tok_x"}, auth=server.admin, headers=CONTEXT)
    assert server.stop() == 0
    assert b"POST /introspect" in collector.taken
    assert bytes.fromhex(TRACE) in collector.taken
    assert b"authsvc" in collector.taken
    assert b"tok_x" not in collector.taken
