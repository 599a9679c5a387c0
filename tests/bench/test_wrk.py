"""What wrk sends, and what a measurement says."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench import processor, wrk
from bench.wrk import Target
from tests.processes import in_time

pytestmark = pytest.mark.slow

needs_wrk = pytest.mark.skipif(
    not (shutil.which("wrk") and shutil.which("taskset") and len(os.sched_getaffinity(0)) > 1),
    reason="needs wrk, taskset and two cores",
)
BODIES = [f"token={number:04d}" for number in range(3000)]


class Recording(ThreadingHTTPServer):
    """Answers every request, and keeps its body and ids."""

    daemon_threads = True

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.ids: list[tuple[str | None, str | None]] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Recording

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["content-length"])).decode())
        self.server.ids.append((self.headers["x-request-id"], self.headers["traceparent"]))
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")


@pytest.fixture
def server() -> Iterator[Recording]:
    with Recording() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def target(server: Recording, file: Path, **changes: object) -> Target:
    made = Target("recording", server.server_port, "/", "a:b", BODIES, lambda *_: True, connections=4, **changes)  # type: ignore[arg-type]
    return wrk.with_file(wrk.check(made), file)


@needs_wrk
def test_a_body_that_is_sent_once_is_not_sent_again(server: Recording, tmp_path: Path) -> None:
    """wrk ends after the last body, long before its time is over, and the rate is that of the time it took."""
    asked = target(server, tmp_path / "bodies", choice="once")
    server.bodies.clear()
    begun = time.monotonic()
    figures = wrk.measure(asked, 1)
    took = time.monotonic() - begun
    assert len(server.bodies) == len(set(server.bodies)) == len(BODIES) - 1
    in_time(took, wrk.ONCE_WITHIN_S)
    assert figures["rate"] >= (len(BODIES) - 1) / took


@needs_wrk
def test_a_zipf_like_choice_prefers_the_first_bodies(server: Recording, tmp_path: Path) -> None:
    """The logarithm of the place is spread evenly: the first tenth gets most requests, the last tenth very few."""
    asked = target(server, tmp_path / "bodies", choice="zipf")
    server.bodies.clear()
    wrk.measure(asked, 1)
    places = [BODIES.index(body) for body in server.bodies]
    tenth = len(BODIES) // 10
    first, last = sum(place < tenth for place in places), sum(place >= 9 * tenth for place in places)
    assert first > len(places) / 2
    assert last < len(places) / 20


@needs_wrk
def test_each_request_has_ids_of_its_own(server: Recording, tmp_path: Path) -> None:
    """The ids fit to the rules for such fields, and no two requests share them."""
    asked = target(server, tmp_path / "bodies", own_ids=True)
    server.ids.clear()
    wrk.measure(asked, 1)
    assert len(set(server.ids)) == len(server.ids)
    for request_id, trace in server.ids:
        assert request_id is not None
        assert len(request_id) == 16
        assert trace is not None
        assert [len(part) for part in trace.split("-")] == [2, 32, 16, 2]


# A server in a session of its own, which uses the processor for a tenth of a second each time it reads a line.
BUSY = """
import socket, sys, time
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    for _ in sys.stdin:
        begun = time.process_time()
        while time.process_time() - begun < 0.1:
            pass
        print("done", flush=True)
"""


def test_the_processor_time_of_a_port_is_that_of_its_listener() -> None:
    """A figure of another process would say nothing about the server."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=pipe, stdout=pipe, text=True, start_new_session=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        session = processor.session_at(int(server.stdout.readline()))
        assert session == server.pid
        before = processor.used_s(session)
        server.stdin.write("\n")
        server.stdin.flush()
        assert server.stdout.readline() == "done\n"
        assert processor.used_s(session) - before >= 0.08
        server.stdin.close()
