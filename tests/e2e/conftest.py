"""Real `authsvc serve` processes, each on a port and a data directory of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
import redis

from authsvc.core.address import in_url
from authsvc.ops.data_dir import running_url
from tests.processes import processes_on, until

AUTHSVC = str(Path(sys.executable).with_name("authsvc"))
# Many services of tests run at a time, so none of them has a console at the usual port.
CHEAP = {"AUTHSVC_ARGON2_MEMORY_KIB": "8", "AUTHSVC_ARGON2_TIME_COST": "1", "AUTHSVC_CONSOLE_PORT": "0"}
PASSWORD = "a walk by the river"
START_WITHIN_S = 60.0  # a second on an idle machine


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(*arguments: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A command that is expected to end by itself; if it does not, what it has started is ended too."""
    try:
        return subprocess.run(
            [AUTHSVC, *arguments], cwd=cwd, env=clean(environment), capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        for pid in processes_on(Path(environment.get("AUTHSVC_DATA_DIR", cwd / "authsvc-data"))):
            os.kill(pid, signal.SIGKILL)
        raise


def clean(environment: dict[str, str]) -> dict[str, str]:
    """Our environment without the settings of the developer."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AUTHSVC_")}
    return inherited | CHEAP | environment


@dataclass
class Server:
    """One data directory, and the process that serves it now. `admin` is what its first start printed."""

    directory: Path
    port: int
    environment: dict[str, str]
    process: "subprocess.Popen[bytes] | None" = None
    admin: tuple[str, str] = ("", "")
    prefix: tuple[str, ...] = ()  # a program that runs it
    program: str = AUTHSVC
    arguments: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"http://{in_url(self.environment.get('AUTHSVC_HOST', '127.0.0.1'))}:{self.port}"

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def output(self) -> str:
        return (self.directory / "stdout").read_text()

    @property
    def log(self) -> str:
        return (self.directory / "stderr").read_text()

    def start(self) -> "Server":
        """Start a process and wait until it answers."""
        environment = clean(
            {"AUTHSVC_PORT": str(self.port), "AUTHSVC_DATA_DIR": str(self.data_dir), **self.environment}
        )
        with self._truncated("stdout") as stdout, self._truncated("stderr") as stderr:
            self.process = subprocess.Popen(
                [*self.prefix, self.program, "serve", *self.arguments],
                cwd=self.directory,
                env=environment,
                stdout=stdout,
                stderr=stderr,
                process_group=0,
            )
        until(self._answers, START_WITHIN_S)
        printed = re.search(r"client_id +(\S+)\n +client_secret +(\S+)", self.output)
        if printed:
            self.admin = (printed[1], printed[2])
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal to the whole process group, as a terminal does; returns the exit code."""
        assert self.process is not None
        os.killpg(self.process.pid, number)
        return self.process.wait(START_WITHIN_S)

    def kill(self) -> None:
        """kill -9, of the server alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def clean_up(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for pid in processes_on(self.data_dir) if self.data_dir.exists() else []:
            os.kill(pid, signal.SIGKILL)

    def valkey(self) -> "redis.Redis":
        url = running_url(self.data_dir)
        assert url is not None
        return redis.Redis.from_url(url)

    def http(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **options)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"it ended: {self.log}"
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def _truncated(self, name: str) -> IO[bytes]:
        return (self.directory / name).open("wb")


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes servers that are not running yet, and ends what is left of them."""
    servers: list[Server] = []

    def make(**environment: str) -> Server:
        directory = tmp_path / str(len(servers))
        directory.mkdir()
        servers.append(Server(directory, free_port(), environment))
        return servers[-1]

    yield make
    for server in servers:
        server.clean_up()


@pytest.fixture
def server(new_server: Callable[..., Server]) -> Server:
    return new_server().start()
