"""Starts, signals and ends processes, each by its own id; among them the store and `authsvc serve`."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import redis

from authsvc.ops.binary import find_binary

START_WITHIN_S = 90
PYTHON = Path(sys.executable)


class ExperimentError(Exception):
    """The experiment could not be carried out, so it says nothing about the service."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A command that can be started again. It has its own process group, and its output goes to a file."""

    def __init__(self, name: str, directory: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._directory = directory
        self._command = list(command)
        self.environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ExperimentError(f"{self.name} was never started")
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as sink:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                cwd=self._directory,
                env={name: value for name, value in os.environ.items() if not name.startswith("AUTHSVC_")}
                | self.environment,
                start_new_session=True,  # Ctrl-C reaches the suite alone, which then ends its processes in order
            )

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Raises ExperimentError with the end of the log."""
        deadline = time.monotonic() + START_WITHIN_S
        while not ready():
            if not self.runs or time.monotonic() > deadline:
                raise ExperimentError(f"{self.name} does not start:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def children(self) -> list[int]:
        return children_of(self.pid)

    def wait(self, seconds: float) -> int:
        """The exit status. Raises ExperimentError if the process does not end in time."""
        if self._process is None:
            return 0
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ExperimentError(f"{self.name} does not end within {seconds:g} s") from None

    def kill(self) -> None:
        """kill -9 for the process and its children."""
        if self._process is None:
            return
        for pid in [self.pid, *self.children()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()

    def end(self, seconds: float = 15) -> None:
        if not self.runs:
            return
        self.signal(signal.SIGTERM)
        try:
            self.wait(seconds)
        except ExperimentError:
            self.kill()


def children_of(pid: int) -> list[int]:
    """The children of a process, without Python's own resource tracker."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(child) for child in found if b"resource_tracker" not in _command_line(int(child))]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def rss_mib(pid: int) -> float:
    """Resident memory; 0 when the process is gone."""
    try:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) / 1024 if found else 0


def open_files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


class Store(Process):
    """A Valkey with the persistence of the embedded store: each write is synced to the disk."""

    def __init__(
        self, directory: Path, options: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.data = directory / "store"
        self.data.mkdir(exist_ok=True)
        command = [find_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.data)]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", *options]
        super().__init__("store", directory, command, environment or {})

    def start(self) -> None:
        super().start()
        self.wait_until(self.answers)

    def answers(self) -> bool:
        try:
            with self.open() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def open(self) -> "redis.Redis":
        return redis.Redis(port=self.port, socket_timeout=5)

    @property
    def append_only_file(self) -> Path:
        """The append-only file to which the store writes now."""
        return max((self.data / "appendonlydir").glob("*.incr.aof"), key=lambda file: file.stat().st_mtime)


class Serve(Process):
    """`authsvc serve` with its worker processes."""

    def __init__(self, name: str, directory: Path, python: Path, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        environment = dict(environment) | {"AUTHSVC_PORT": str(self.port), "PYTHONDONTWRITEBYTECODE": "1"}
        # Not `-m`: it would look for the package in the current directory first.
        run = "import sys; from authsvc.cli import main; sys.argv[0] = 'authsvc'; main()"
        super().__init__(name, directory, [str(python), "-P", "-c", run, "serve"], environment)

    @property
    def admin(self) -> tuple[str, str] | None:
        """The client_id and secret of the first admin. None until the first start has printed them."""
        found = re.search(r"client_id +(\S+)\n +client_secret +(\S+)", self.log.read_text(errors="replace"))
        return (found[1], found[2]) if found else None

    @property
    def workers(self) -> list[int]:
        return self.children() or [self.pid]

    def forget_the_secret(self) -> None:
        """Remove the admin's secret from the log. Only the notice of the first start may hold it."""
        if self.admin:
            text = self.log.read_text(errors="replace").replace(self.admin[1], "(printed here, this once)")
            self.log.write_text(text)
