"""More than a worker takes: the rest is told 503 at once, and all is as before when it is over."""

import resource
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Server
from tests.e2e.wire import Wire, assert_refused
from tests.processes import in_time, until

NewServer = Callable[..., Server]
READY = b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"
LOGIN = b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 41\r\n\r\n"
BODY = b'{"username":"ada","password":"sesame  1"}'


def cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / 100


@pytest.mark.slow
def test_requests_beyond_the_limit(new_server: NewServer) -> None:
    """With as many in progress as allowed, another one is 503 at once, and the connection stays good.

    A request that has not arrived is not in progress: who sends slowly takes nobody's place.
    """
    slow_hash = {"AUTHSVC_ARGON2_TIME_COST": "40", "AUTHSVC_ARGON2_MEMORY_KIB": "16384", "AUTHSVC_HASH_THREADS": "1"}
    server = new_server(AUTHSVC_MAX_REQUESTS="3", **slow_hash).start()
    with ExitStack() as open_:
        for _ in range(20):
            open_.enter_context(Wire(server.port)).send(LOGIN + BODY[:10])
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        busy = [open_.enter_context(Wire(server.port)) for _ in range(3)]
        for wire in busy:
            wire.send(LOGIN + BODY)
        extra = open_.enter_context(Wire(server.port))
        statuses = []

        def refused() -> bool:
            began = time.monotonic()
            extra.send(READY)
            answer = extra.answer()
            assert answer is not None
            statuses.append(answer.status)
            if answer.status != 503:
                return False
            in_time(time.monotonic() - began, 2)
            assert answer.json["error"] == "temporarily_unavailable"
            assert (answer.all("retry-after"), answer.all("connection")) == (["1"], [])
            assert answer.all("cache-control") == ["no-store"]
            return True

        until(refused)
        assert [wire.answer() is not None for wire in busy] == [True] * 3
        extra.send(READY)
        answer = extra.answer()
        assert answer is not None
        assert answer.status == 200
        assert set(statuses) <= {200, 503}
    until(lambda: "above the limits" in server.log)


@pytest.mark.slow
def test_connections_beyond_the_limit(new_server: NewServer) -> None:
    """One connection too many is told 503 before it asks; when others go, the next one is served."""
    server = new_server(AUTHSVC_MAX_CONNECTIONS="5").start()
    with ExitStack() as open_:
        wires = [open_.enter_context(Wire(server.port)) for _ in range(5)]
        for wire in wires:
            wire.send(READY)
            answer = wire.answer()
            assert answer is not None
            assert answer.status == 200
        for _ in range(3):
            with Wire(server.port) as extra:
                extra.send(READY)
                assert_refused(extra.answer(), 503, "temporarily_unavailable")
                assert extra.answer() is None
        wires[0].send(READY)
        answer = wires[0].answer()
        assert answer is not None
        assert answer.status == 200
    until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["known at the start", "taken away later"])
def test_descriptors_run_out(new_server: NewServer, when: str) -> None:
    """With 256 descriptors and 400 connections the server neither dies nor spins, and then serves as before."""
    server = new_server()
    low = (256, 256)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if when == "known at the start":
        if shutil.which("prlimit") is None:
            pytest.skip("no prlimit here: apt-get install util-linux")
        server.prefix = ("prlimit", "--nofile=256:256")
    server.start()
    assert server.process is not None
    pid = server.process.pid
    if when == "taken away later":
        resource.prlimit(pid, resource.RLIMIT_NOFILE, low)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
    with ExitStack() as open_:
        kept = open_.enter_context(httpx.Client(base_url=server.url))
        assert kept.get("/readyz").status_code == 200
        crowd = [open_.enter_context(Wire(server.port)) for _ in range(400)]
        began, spent = time.monotonic(), cpu_s(pid)
        # An open connection is served all the while.
        until(lambda: kept.get("/readyz").status_code != 200 or time.monotonic() - began > 2)
        assert kept.get("/readyz").status_code == 200
        until(lambda: time.monotonic() - began > 3)
        ended = [wire for wire in crowd if wire.is_ended()]
        assert len(ended) >= 140
        if when == "known at the start":  # most of them are told
            told = [answer for wire in ended if (answer := wire.answer()) is not None]
            assert len(told) >= 50
            for answer in told:
                assert_refused(answer, 503, "temporarily_unavailable")
        began, spent = time.monotonic(), cpu_s(pid)
        until(lambda: time.monotonic() - began > 1)
        in_time(cpu_s(pid) - spent, 0.5, "waiting for a descriptor")
    until(lambda: _serves(server), 5)
    assert server.process.poll() is None
    assert "Traceback" not in server.log


def _serves(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/readyz").status_code == 200
    except httpx.TransportError:
        return False
