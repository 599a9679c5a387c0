"""The port of the console: when there is one, what the start prints, and several workers."""

import re
import socket
from collections.abc import Callable

import httpx
import pytest

from authsvc.errors import StartupError
from authsvc.serve.console import DEFAULT_PORT, console_socket, port_of
from authsvc.settings import Settings
from tests.e2e.conftest import PASSWORD, Server, free_port

NewServer = Callable[..., Server]
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens there: the console has an address of its own


@pytest.mark.slow
def test_the_start_prints_the_link_until_there_is_an_admin(new_server: NewServer) -> None:
    """The first start prints a link, a later one another, and none once an admin can log in."""
    port = free_port()
    server = new_server(AUTHSVC_CONSOLE_PORT=str(port)).start()
    first = re.search(rf"http://localhost:{port}/first\?code=\S+", server.output)
    assert first is not None
    assert httpx.get(first[0]).status_code == 200
    server.stop()
    server.start()
    second = re.search(r"http://localhost:\d+/first\?code=\S+", server.output)
    assert second is not None
    assert second[0] != first[0]
    with server.http(auth=server.admin) as http:
        body = {"username": "root", "password": PASSWORD, "roles": ["admin"]}
        assert http.post("/admin/users", json=body).status_code == 201
    assert httpx.get(second[0]).status_code == 404
    server.stop()
    server.start()
    assert f"The console for admins: http://localhost:{port}" in server.output
    assert "code=" not in server.output


@pytest.mark.slow
def test_two_ports_two_applications(new_server: NewServer) -> None:
    """The console's port serves no call of the API, and the API's port no page; with several workers, too."""
    port = free_port()
    server = new_server(AUTHSVC_CONSOLE_PORT=str(port), AUTHSVC_WORKERS="2").start()
    for _ in range(8):
        assert httpx.get(f"http://localhost:{port}/login").status_code == 200
        assert httpx.post(f"http://localhost:{port}/introspect", data={"token": "x"}).status_code in (404, 405)
        assert httpx.get(f"http://localhost:{port}/healthz").status_code == 404
        assert httpx.get(f"{server.url}/users").status_code == 404
        assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert server.stop() == 0
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://localhost:{port}/login")


def test_only_an_embedded_store_on_loopback_has_one_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a configured store, or where others reach the service, the console takes a setting."""
    monkeypatch.setattr("authsvc.serve.console.DEFAULT_PORT", free_port())
    for settings, has_one in (
        (Settings(), True),
        (Settings(host=EVERYWHERE), False),
        (Settings(redis_url="redis://127.0.0.1"), False),
        (Settings(console_port=0), False),
        (Settings(redis_url="redis://127.0.0.1", host=EVERYWHERE, console_port=free_port()), True),
    ):
        with console_socket(settings) as listening:
            assert (listening is not None) == has_one
            if listening is not None:
                assert listening.getsockname()[0] == "127.0.0.1"
                assert port_of(listening) > 0
    assert DEFAULT_PORT == 8001


def test_a_port_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A configured port that can't be had ends the start. The default port does not: the service starts without."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match="AUTHSVC_CONSOLE_PORT"), console_socket(Settings(console_port=port)):
            pass
        monkeypatch.setattr("authsvc.serve.console.DEFAULT_PORT", port)
        with console_socket(Settings()) as listening:
            assert listening is None


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without jinja2 there is no console by default, and a configured port says what is missing."""
    monkeypatch.setattr("authsvc.serve.console.find_spec", lambda _: None)
    with console_socket(Settings()) as listening:
        assert listening is None
    with pytest.raises(StartupError, match="extra pages"), console_socket(Settings(console_port=free_port())):
        pass
