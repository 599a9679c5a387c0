"""Metrics of real processes: on a port of their own, of all workers together, and none of it lost with a worker."""

import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import PASSWORD, Server, free_port, run
from tests.metrics.reading import Reading
from tests.processes import alive, processes_on, until
from tests.selection import slow

Serve = Callable[..., Server]


@pytest.fixture(params=[slow(1), 2], ids=["one worker", "two workers"])
def served(new_server: Serve, request: pytest.FixtureRequest) -> tuple[Server, str]:
    port = free_port()
    server = new_server(AUTHSVC_METRICS_PORT=str(port), AUTHSVC_WORKERS=str(request.param)).start()
    return server, f"http://127.0.0.1:{port}/metrics"


def read(url: str) -> Reading:
    return Reading(httpx.get(url).raise_for_status().text)


def introspect(server: Server, times: int) -> None:
    """Each on a connection of its own, so that all workers get some."""
    for _ in range(times):
        answer = httpx.post(f"{server.url}/introspect", data={"token": "tok_x"}, auth=server.admin)
        assert answer.json() == {"active": False}


def introspections(url: str) -> float:
    return read(url)["authsvc_requests_total", ("route", "/introspect"), ("status", "200")]


@pytest.mark.slow
def test_every_request_is_counted_once(served: tuple[Server, str]) -> None:
    """All workers count their requests and durations, on the fast path too."""
    server, url = served
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(introspect, server, 5) for _ in range(8)]:
            done.result()
    assert introspections(url) == 40
    told = read(url)
    assert told["authsvc_request_duration_seconds_count", ("route", "/introspect")] == 40
    assert told["authsvc_tokens_checked_total", ("result", "malformed")] == 40
    assert told["authsvc_lookups_per_round_trip_sum"] == 40
    until(lambda: read(url)["authsvc_workers_ready"] == read(url)["authsvc_workers"])


@pytest.mark.slow
def test_the_port_is_another(served: tuple[Server, str]) -> None:
    """The API does not serve them, and their port serves nothing of the API."""
    server, url = served
    assert httpx.get(f"{server.url}/metrics").status_code == 404
    assert "authsvc_" in httpx.get(url.replace("/metrics", "/introspect")).text
    assert "authsvc_" in httpx.get(url, headers={"Accept": "application/openmetrics-text"}).text


@pytest.mark.slow
def test_a_killed_worker_takes_no_count_along(new_server: Serve) -> None:
    """After kill -9 of a worker no counter has fallen, and the restart is counted; SIGHUP is none, loses nothing."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    server = new_server(AUTHSVC_METRICS_PORT=str(port), AUTHSVC_WORKERS="2").start()
    introspect(server, 20)
    before = introspections(url)
    assert before == 20
    victim = workers_of(server)[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: read(url)["authsvc_worker_restarts_total"] == 1)
    assert introspections(url) == before
    assert server.process is not None
    old = workers_of(server)
    server.process.send_signal(signal.SIGHUP)
    until(lambda: not any(map(alive, old)), 30)
    until(lambda: read(url)["authsvc_workers"] == 2)
    introspect(server, 5)
    assert introspections(url) == before + 5
    assert read(url)["authsvc_worker_restarts_total"] == 1


def workers_of(server: Server) -> list[int]:
    """The processes that answer, as opposed to the store and what multiprocessing needs."""
    assert server.process is not None
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(pid) for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]


@pytest.mark.slow
def test_what_goes_wrong_is_seen(new_server: Serve) -> None:
    """Logins, what is refused before the application, and a store that hangs are in the metrics of the process."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    server = new_server(AUTHSVC_METRICS_PORT=str(port)).start()
    httpx.post(f"{server.url}/login", json={"username": "nobody", "password": PASSWORD})
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 400")
    told = read(url)
    assert told["authsvc_passwords_checked_total", ("outcome", "failed")] == 1
    assert told["authsvc_refusals_total", ("reason", "invalid_request")] == 1
    assert told["authsvc_requests_total", ("route", "other"), ("status", "400")] == 1
    (store,) = set(processes_on(server.data_dir)) - {server.process.pid if server.process else 0}
    os.kill(store, signal.SIGSTOP)
    try:
        answer = httpx.post(f"{server.url}/introspect", data={"token": "tok_x"}, auth=server.admin, timeout=5)
        assert answer.status_code == 503
        until(lambda: read(url)["authsvc_workers_ready"] == 0)
    finally:
        os.kill(store, signal.SIGCONT)
    told = read(url)
    assert told["authsvc_requests_total", ("route", "/introspect"), ("status", "503")] == 1
    assert told["authsvc_store_errors_total", ("kind", "timeout")] >= 1
    assert told["authsvc_refusals_total", ("reason", "store_unavailable")] >= 1
    until(lambda: read(url)["authsvc_workers_ready"] == 1)


@pytest.mark.slow
def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """The service does not start without the metrics that it was told to serve, and says why."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run(
            "serve", cwd=tmp_path, AUTHSVC_PORT=str(free_port()), AUTHSVC_METRICS_PORT=str(port),
            AUTHSVC_DATA_DIR=str(tmp_path / "data"),
        )  # fmt: skip
    assert ended.returncode != 0
    assert f"can't serve metrics on 127.0.0.1, port {port}: address already in use" in ended.stderr
    assert "choose another port with AUTHSVC_METRICS_PORT" in ended.stderr
