"""`authsvc status` tells on one screen whether all is well."""

import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from click.testing import CliRunner

from authsvc.checks.facts import Facts
from authsvc.cli import cli as program_
from authsvc.cli.status import Answer, Seen, _screen, ask
from authsvc.cli.statuses import INACTIVE, OK, UNAVAILABLE
from authsvc.flows.bootstrap import first_start
from authsvc.ops.embedded import Embedded
from authsvc.ops.fitness import Server
from authsvc.ops.inspection import Inspection
from authsvc.settings import Settings
from authsvc.waiting import until
from tests.cli.test_cli import CHEAPLY, Cli, program


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.slow
def test_one_screen_about_a_running_service(started: Cli, tmp_path: Path) -> None:
    """It is ready where it listens; the store, the live sessions, what `check` finds and the last events are there."""
    started.user("ada")
    started.login()
    started.login()
    port = free_port()
    with (tmp_path / "log").open("w") as log:
        server = program("serve", cwd=tmp_path, port=port, url=started.url, stderr=log, stdout=log)
    try:
        for _ in until(60.0, pause_s=0.2):
            result = started("status", AUTHSVC_PORT=str(port))
            if result.stdout.startswith(f"service   ready at http://127.0.0.1:{port}\n"):
                break
        else:
            raise AssertionError(result.output)
        lines = dict(line.split(None, 1) for line in result.stdout.splitlines()[:4])
        assert lines["store"].startswith("valkey ")
        assert lines["sessions"] == "2 live sessions"
        assert lines["check"].endswith("`authsvc check` shows them")
        told = json.loads(started("status", "--json", AUTHSVC_PORT=str(port)).stdout)
        assert told["service"] == {"address": f"http://127.0.0.1:{port}", "ready": True, "why": None}
        assert told["sessions"] == {"live": 2, "complete": True}
        assert [event["event"] for event in told["events"]][:2] == ["login.succeeded"] * 2
        assert len(told["events"]) <= 5
        expected = OK if not told["check"].get("fail") else INACTIVE
        assert result.exit_code == expected
    finally:
        server.terminate()
        server.communicate(timeout=30)


def test_a_service_that_is_not_there(started: Cli) -> None:
    """The screen names the address and the settings that say where to ask; the rest is there all the same."""
    result = started("status", AUTHSVC_PORT=str(free_port()))
    assert result.exit_code == INACTIVE
    first, *others = result.stdout.splitlines()
    assert "not ready at http://127.0.0.1:" in first
    assert "AUTHSVC_PORT" in first
    assert "sessions  0 live sessions" in others


@pytest.mark.parametrize(
    ("seconds", "told"), [(59, "59 s"), (3599, "59 min"), (7200, "2 h"), (86399, "23 h"), (90000, "1 d")]
)
def test_how_long_the_store_runs(seconds: int, told: str) -> None:
    """Also in its first day."""
    server = Server({"uptime_in_seconds": str(seconds), "uptime_in_days": str(seconds // 86400)})
    screen = _screen(
        Answer("a", ready=True), Facts(Settings(), now=0, servers=(Inspection(server),)), Seen(), Counter()
    )
    assert f"up for {told};" in screen["store"]


def test_a_service_that_listens_elsewhere(tmp_path: Path) -> None:
    """A service runs on the data directory, and does not answer at the default address: the screen says both."""
    directory = tmp_path / "data"
    with Embedded(directory) as embedded:
        cli = Cli(embedded.url)
        cli.do(first_start)
        env: dict[str, str | None] = {**CHEAPLY, "AUTHSVC_REDIS_URL": None, "AUTHSVC_DATA_DIR": str(directory)}
        told = CliRunner().invoke(program_, ["status"], env=env | {"AUTHSVC_PORT": str(free_port())}).stdout
    assert f"a service runs on {directory} and is starting or listens elsewhere: set AUTHSVC_HOST and " in told


def test_the_default_address_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without AUTHSVC_HOST and AUTHSVC_PORT, the command may have asked the wrong address."""

    def refuse(*_: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(HTTPConnection, "request", refuse)
    remote = {"redis_url": "redis://127.0.0.1"}
    assert "; this is the default address; start the service, or set AUTHSVC_" in str(ask(Settings(**remote)))
    assert "default" not in str(ask(Settings(port=8300, **remote)))


@contextmanager
def answering(reply: bytes) -> Iterator[int]:
    """A port where each connection gets this reply."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_another_program_at_the_port_is_not_the_service(started: Cli, reply: bytes) -> None:
    """Whatever answers there, one line says that it is not ready."""
    with answering(reply) as port:
        result = started("status", AUTHSVC_PORT=str(port))
    assert result.exit_code == INACTIVE
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.stdout.startswith("service   not ready at ")


def test_a_store_that_is_gone(started: Cli) -> None:
    """Then the status is 4, and the screen says what is wrong with the store."""
    result = started("status", AUTHSVC_REDIS_URL="unix:///nonexistent/valkey.sock", AUTHSVC_PORT=str(free_port()))
    assert result.exit_code == UNAVAILABLE
    assert re.search(r"^store     .*/nonexistent/valkey.sock: no such socket", result.stdout, re.MULTILINE)
    assert "sessions" not in result.stdout
