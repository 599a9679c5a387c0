"""Clients that take their time: each way of being slow is ended within its bound. All of them at once."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.conftest import Server
from tests.e2e.wire import Wire, assert_refused
from tests.processes import until

READY = b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
BODY = b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
# Beyond the bounds of authsvc/edge/limits.py: for a machine that is busy with other tests.
SLACK_S = 3.0


class Slow:
    """A client that opens a connection, sends `begin`, and then a byte whenever told to."""

    def __init__(self, port: int, begin: bytes, drip: bytes) -> None:
        self.wire = Wire(port)
        self.wire.send(begin)
        self.drip = drip
        self.began = time.monotonic()
        self.lasted: float | None = None

    def go_on(self) -> None:
        if self.lasted is not None:
            return
        if self.wire.is_ended():
            self.lasted = time.monotonic() - self.began
            return
        try:
            self.wire.send(self.drip)
        except OSError:
            self.lasted = time.monotonic() - self.began


@pytest.mark.slow
def test_slow_clients(new_server: Callable[..., Server]) -> None:
    """A client that is silent, drips or takes no answer loses its connection; others are served meanwhile.

    The limits are those of one request. A connection in use outlives all of them.
    """
    server = new_server(AUTHSVC_KEEP_ALIVE_S="5").start()
    chatty = HEAD + b"\r\n"
    kinds: dict[str, tuple[bytes, bytes, float, float]] = {
        # The bytes sent at first and every half second, and the times between which the connection ends.
        "silent": (b"", b"", 8, 10),
        "only line ends": (b"", b"\r\n", 8, 10),
        "a dripping head": (HEAD + b"X: ", b"a", 8, 10),
        "many fields": (HEAD, b"X: y\r\n", 8, 10),
        "a dripping body": (BODY, b"a", 13, 15),
        "a body that stops": (BODY + b"{", b"", 13, 15),
        "an idle connection": (chatty, b"", 3, 5),
        "idle, with line ends": (chatty, b"\r\n", 3, 5),
        "a second head": (chatty + HEAD, b"X: y\r\n", 8, 10),
        "a body nobody reads": (b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n", b"a", 13, 15),
    }
    crowd = [(name, Slow(server.port, begin, drip)) for name, (begin, drip, _, _) in kinds.items() for _ in range(20)]
    lazy = Wire(server.port)
    lazy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.send(b"GET /openapi.yaml HTTP/1.1\r\nHost: a\r\n\r\n" * 90)
    latencies: list[float] = []
    stop = threading.Event()

    def ask() -> None:
        """One connection that is used all the time, slowly."""
        with Wire(server.port) as wire:
            while not stop.wait(0.4):
                wire.send(READY[:20])
                stop.wait(0.4)
                began = time.monotonic()
                wire.send(READY[20:])
                answer = wire.answer()
                assert answer is not None, "a connection in use was closed"
                assert answer.status == 200
                latencies.append(time.monotonic() - began)

    asking = ThreadPoolExecutor(1)
    asked = asking.submit(ask)

    def all_over() -> bool:
        for _, slow in crowd:
            slow.go_on()
        time.sleep(0.5)  # the dripping
        return all(slow.lasted is not None for _, slow in crowd) and not _is_established(server, lazy)

    try:
        until(all_over, 30)
    finally:
        stop.set()
        asked.result(10)
        asking.shutdown()
    for name, slow in crowd:
        _, _, least, most = kinds[name]
        assert slow.lasted is not None
        assert least - 0.5 <= slow.lasted <= most + SLACK_S, (name, slow.lasted)
        if name == "a body that stops":  # and is told why
            assert_refused(slow.wire.answer(), 400, "invalid_request")
        slow.wire.socket.close()
    lazy.socket.close()
    assert len(latencies) > 10
    assert max(latencies) < 1


def _is_established(server: Server, wire: Wire) -> bool:
    """Whether the server still has this connection, as the kernel sees it."""
    ends = [f"0100007F:{port:04X}" for port in (server.port, wire.socket.getsockname()[1])]
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(line[1:4] == [*ends, "01"] for line in lines)
