"""Going: what has begun is answered, everything has ended in time, and replacing workers costs no request."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import redis

from tests import topologies
from tests.e2e.conftest import PASSWORD, Server, free_port
from tests.e2e.wire import Wire
from tests.processes import alive, in_time, processes_on, until

pytestmark = pytest.mark.slow

NewServer = Callable[..., Server]
READY = b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"
LOGIN = b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 41\r\n\r\n"
BODY = b'{"username":"ada","password":"sesame  1"}'
# Docker kills after ten seconds.
ALL_ENDED_S = 10.0


def workers_of(server: Server) -> list[int]:
    """The worker processes, by what they run."""
    assert server.process is not None
    parent = server.process.pid
    children = [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return [pid for pid in children if alive(pid) and b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_answers_what_crosses_with_it(new_server: NewServer, workers: str) -> None:
    """After SIGTERM the server accepts no connection, answers what has begun or crosses with it, and exits with 0.

    These answers have `Connection: close`. A connection that stays idle is closed.
    """
    server = new_server(AUTHSVC_WORKERS=workers).start()
    assert server.process is not None
    with ExitStack() as open_:
        begun, half, crossing, fresh, idle = (open_.enter_context(Wire(server.port)) for _ in range(5))
        for wire in (crossing, idle):
            wire.send(READY)
            answer = wire.answer()
            assert answer is not None
            assert answer.all("connection") == []
        begun.send(LOGIN + BODY[:5])
        half.send(READY[:20])
        server.process.terminate()
        began = time.monotonic()
        until(lambda: not _accepts(server))
        for wire, request in ((crossing, READY), (fresh, READY), (begun, BODY[5:])):
            wire.send(request)
            answer = wire.answer()
            assert answer is not None
            assert answer.status == (401 if wire is begun else 200)
            assert answer.all("connection") == ["close"]
            assert wire.answer() is None
        assert idle.answer() is None
        half.send(READY[20:])  # later than the idle one was closed
        answer = half.answer()
        assert answer is not None
        assert (answer.status, answer.all("connection")) == (200, ["close"])
        assert server.process.wait(10) == 0
        in_time(time.monotonic() - began, 4)
    assert "Traceback" not in server.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_is_bounded(new_server: NewServer, workers: str) -> None:
    """The server ends in time with a hanging store, an unfinished request and a client that takes no answer."""
    server = new_server(AUTHSVC_WORKERS=workers).start()
    assert server.process is not None
    (valkey,) = processes_on(server.data_dir)
    with Wire(server.port) as endless, Wire(server.port) as lazy, Wire(server.port) as waiting:
        endless.send(LOGIN)
        lazy.socket.setsockopt(1, 8, 4096)
        lazy.send(b"GET /openapi.yaml HTTP/1.1\r\nHost: a\r\n\r\n" * 90)
        waiting.send(READY)
        assert waiting.answer() is not None
        os.kill(valkey, signal.SIGSTOP)
        waiting.send(LOGIN + BODY)
        began = time.monotonic()
        server.process.terminate()
        answer = waiting.answer()
        assert answer is not None
        assert answer.status == 503
        assert server.process.wait(20) == 0
        in_time(time.monotonic() - began, ALL_ENDED_S + 1)
    assert processes_on(server.data_dir) == []


def test_a_terminal_that_goes_away(server: Server) -> None:
    """SIGHUP to the one process ends it as SIGTERM does, and its Valkey with it."""
    assert server.stop(signal.SIGHUP) == 0
    assert "SIGHUP: stopping" in server.log
    assert processes_on(server.data_dir) == []


def test_a_killed_worker_is_replaced(new_server: NewServer) -> None:
    """Two seconds after kill -9 of a worker there are as many workers again; the other one served meanwhile."""
    server = new_server(AUTHSVC_WORKERS="2").start()
    until(lambda: len(workers_of(server)) == 2)
    victim, other = workers_of(server)
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    until(lambda: len(workers_of(server)) == 2 and victim not in workers_of(server))
    assert other in workers_of(server)
    in_time(time.monotonic() - began, 2)
    for _ in range(20):
        assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_one_that_dies_while_it_is_asked_is_replaced(new_server: NewServer) -> None:
    """Its supervisor does not wait for an answer that can't come any more."""
    server = new_server(AUTHSVC_WORKERS="2").start()
    until(lambda: len(workers_of(server)) == 2)
    victim = workers_of(server)[0]
    os.kill(victim, signal.SIGSTOP)
    asked = time.monotonic() + 1  # it is asked four times a second, and then waited for
    until(lambda: time.monotonic() > asked)
    assert victim in workers_of(server)
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(workers_of(server)) == 2 and victim not in workers_of(server))


@pytest.mark.parametrize("times", [1, 2])
def test_sighup_loses_no_request(new_server: NewServer, times: int) -> None:
    """Every POST over connections that stay open is answered while all workers are replaced."""
    server = new_server(AUTHSVC_WORKERS="2").start()
    assert server.process is not None
    with server.http() as http:
        assert http.post("/admin/users", json={"username": "ada", "password": PASSWORD}, auth=server.admin).is_success
        token = http.post("/login", json={"username": "ada", "password": PASSWORD}).json()["access_token"]
    until(lambda: len(workers_of(server)) == 2)
    stop = threading.Event()

    def ask() -> int:
        """httpx does not repeat a POST, so a lost request raises."""
        asked = 0
        with server.http() as http:
            while not stop.wait(0.01):
                answer = http.post("/introspect", data={"token": token}, auth=server.admin)
                assert answer.status_code == 200, answer.text
                assert answer.json()["active"]
                asked += 1
        return asked

    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask) for _ in range(6)]
        try:
            for _ in range(times):
                old = set(workers_of(server))
                server.process.send_signal(signal.SIGHUP)
                until(lambda old=old: len(now := set(workers_of(server))) == 2 and not now & old, 40)  # type: ignore[misc]
        finally:
            stop.set()
        assert all(task.result(10) > 20 for task in asking)
    assert "Traceback" not in server.log


def test_sighup_reads_the_files_of_settings_again(new_server: NewServer, tmp_path: Path) -> None:
    """After SIGHUP a setting from a file has its new value. With a wrong one the workers stay, and the log says so."""
    issuer, cap = tmp_path / "issuer", tmp_path / "cap"
    issuer.write_text("https://old.example")
    cap.write_text("50")
    server = new_server(
        AUTHSVC_WORKERS="2", AUTHSVC_ISSUER_FILE=str(issuer), AUTHSVC_MAX_SESSIONS_FILE=str(cap)
    ).start()
    assert server.process is not None

    def told() -> str:
        return str(httpx.get(f"{server.url}/.well-known/oauth-authorization-server").json()["issuer"])

    until(lambda: len(workers_of(server)) == 2)
    old = set(workers_of(server))
    assert told() == "https://old.example"
    issuer.write_text("https://new.example")
    server.process.send_signal(signal.SIGHUP)
    until(lambda: len(now := set(workers_of(server))) == 2 and not now & old, 40)
    assert {told() for _ in range(20)} == {"https://new.example"}
    assert "SIGHUP: reading the files of settings again" in server.log
    assert "all workers are new" in server.log
    kept = set(workers_of(server))
    cap.write_text("many")
    server.process.send_signal(signal.SIGHUP)
    until(lambda: "AUTHSVC_MAX_SESSIONS" in server.log)
    assert set(workers_of(server)) == kept
    assert told() == "https://new.example"


def _set_up_another_service(url: str) -> None:
    """Copy the records of the service into database 1, as of a service that was set up a minute earlier."""
    with redis.Redis.from_url(url) as one, redis.Redis.from_url(f"{url.removesuffix('/0')}/1") as other:
        other.set("service", one.get("service") or b"")
        client = json.loads(one.get("client:app") or b"")
        other.set("client:app", json.dumps(client | {"created_at": client["created_at"] - 60}))


@pytest.mark.parametrize(
    ("change", "why", "another"),
    [
        (lambda url: url.replace("s3cret", "wr0ng"), "wrong password", False),
        (lambda url: re.sub(":[0-9]+/", f":{free_port()}/", url), "connection refused", False),
        (lambda url: f"{url.removesuffix('/0')}/1", "database 1: the store holds no service record", False),
        (lambda url: f"{url.removesuffix('/0')}/1", "database 1: this is the store of another service", True),
    ],
    ids=["password", "port", "database", "service"],
)
def test_sighup_with_a_wrong_store(
    new_server: NewServer, tmp_path: Path, change: Callable[[str], str], why: str, another: bool
) -> None:
    """With a store on which no service can start, all workers stay, and the log says why.

    A worker that dies then gets the former store. With the right URL all workers are replaced.
    """
    with topologies.standalone(tmp_path, password="s3cret") as store:
        secret = tmp_path / "redis_url"
        secret.write_text(store.url)
        server = new_server(AUTHSVC_WORKERS="2", AUTHSVC_REDIS_URL_FILE=str(secret), AUTHSVC_STORE_WAIT_S="1").start()
        assert server.process is not None
        until(lambda: len(workers_of(server)) == 2)
        kept = set(workers_of(server))
        if another:
            _set_up_another_service(store.url)
        secret.write_text(change(store.url))
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "a new worker ended before it was ready" in server.log or "all workers are new" in server.log)
        assert set(workers_of(server)) == kept
        assert [line for line in server.log.splitlines() if "a worker can't start" in line and why in line]
        assert not [text for text in ("wr0ng", "not ready in", "Traceback") if text in server.log]
        victim = kept.pop()
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(now := set(workers_of(server))) == 2 and victim not in now)
        until(lambda: "replaced" in server.log)
        assert {httpx.get(f"{server.url}/readyz").status_code for _ in range(20)} == {200}
        secret.write_text(store.url)
        old = set(workers_of(server))
        server.process.send_signal(signal.SIGHUP)
        until(lambda: len(now := set(workers_of(server))) == 2 and not now & old)
        assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_sighup_while_the_store_is_away(new_server: NewServer, tmp_path: Path) -> None:
    """The old workers stay, and serve when the store is back."""
    with topologies.standalone(tmp_path, "appendonly yes", "appendfsync always") as store:
        server = new_server(AUTHSVC_WORKERS="2", AUTHSVC_REDIS_URL=store.url, AUTHSVC_STORE_WAIT_S="1").start()
        assert server.process is not None
        until(lambda: len(workers_of(server)) == 2)
        kept = set(workers_of(server))
        store.kill()
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "a new worker ended before it was ready" in server.log)
        assert "a worker can't start: the store can't be asked" in server.log
        assert set(workers_of(server)) == kept
        store.start()
        until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200)
        assert set(workers_of(server)) == kept


def test_a_password_from_a_file_is_in_no_environment(new_server: NewServer, tmp_path: Path) -> None:
    """A value from a setting's file is in no process's environment or arguments, which others may read."""
    with topologies.standalone(tmp_path, password="s3cret") as store:
        secret = tmp_path / "redis_url"
        secret.write_text(store.url)
        assert "s3cret" in store.url
        server = new_server(AUTHSVC_WORKERS="2", AUTHSVC_REDIS_URL_FILE=str(secret)).start()
        assert server.process is not None
        until(lambda: len(workers_of(server)) == 2)
        for pid in (server.process.pid, *workers_of(server)):
            seen = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"AUTHSVC_REDIS_URL_FILE" in seen
            assert b"s3cret" not in seen + Path(f"/proc/{pid}/cmdline").read_bytes()


def test_sigterm_while_workers_are_replaced(new_server: NewServer) -> None:
    """The way out is open all the time."""
    server = new_server(AUTHSVC_WORKERS="2").start()
    assert server.process is not None
    until(lambda: len(workers_of(server)) == 2)
    server.process.send_signal(signal.SIGHUP)
    until(lambda: len(workers_of(server)) == 3)
    began = time.monotonic()
    server.process.terminate()
    assert server.process.wait(15) == 0
    in_time(time.monotonic() - began, 5)
    assert processes_on(server.data_dir) == []


def _accepts(server: Server) -> bool:
    try:
        Wire(server.port).socket.close()
    except ConnectionRefusedError:
        return False
    return True
