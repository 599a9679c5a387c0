"""Starts and ends the measured processes: each is pinned to its core and ended by its own id."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import redis

from authsvc.ops.binary import find_binary

ROOT = Path(__file__).resolve().parent.parent
# Cores as taskset names them: one for the server under test, the other for its store and the load generator.
SERVER_CORE, OTHER_CORE, BOTH_CORES = "0", "1", "0,1"
START_TIMEOUT_S = 60


class BenchError(Exception):
    """A failure that makes the figures worthless."""


@dataclass(frozen=True, slots=True)
class Store:
    """A running Valkey or Redis on a unix socket, without persistence."""

    socket: Path

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def open(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url)


@dataclass(frozen=True, slots=True)
class Service:
    """A running authsvc. admin: client_id and secret; None if the store was not empty at the start."""

    port: int
    admin: tuple[str, str] | None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def process(
    name: str,
    command: Sequence[str],
    *,
    cores: str,
    log: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> Iterator[None]:
    """A process that is pinned to cores and ready. Raises BenchError with the end of its log if it does not start."""
    started = None
    try:
        with log.open("wb") as sink, _whole():
            started = subprocess.Popen(
                ["taskset", "-c", cores, *command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                cwd=cwd,
                env=clean_environment() | dict(environment or {}),
                start_new_session=True,  # Ctrl-C reaches the bench alone, which then ends its processes in order
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready():
            if started.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-2000:]
                raise BenchError(f"{name} does not start:\n{tail}")
            time.sleep(0.05)
        yield
    finally:
        if started is not None:
            _end(started)


@contextmanager
def _whole() -> Iterator[None]:
    """Hold SIGTERM back until the end of this block.

    The handler raises wherever the program is. Raised inside Popen, it would leave a process that nobody ends.
    """
    held: list[int] = []
    handler = signal.signal(signal.SIGTERM, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
        for number in held:
            signal.raise_signal(number)


def _end(started: "subprocess.Popen[bytes]") -> None:
    started.terminate()
    try:
        started.wait(15)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()


@contextmanager
def store(directory: Path, name: str = "store", binary: str | None = None) -> Iterator[Store]:
    found = Store(directory / f"{name}.sock")
    command = [binary or find_binary(), "--port", "0", "--unixsocket", str(found.socket)]
    command += ["--save", "", "--appendonly", "no", "--dir", str(directory)]

    def ready() -> bool:
        try:
            with found.open() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    with process(name, command, cores=OTHER_CORE, log=directory / f"{name}.log", ready=ready):
        yield found


def python(checkout: Path) -> Path:
    """The interpreter with the packages of a checkout. Raises BenchError."""
    if checkout == ROOT:
        return Path(sys.executable)
    found = checkout / ".venv" / "bin" / "python"
    if not found.exists():
        raise BenchError(f"{checkout} has no .venv; run `make .venv/installed` there")
    return found


@contextmanager
def authsvc(
    directory: Path, name: str, on: Store, *, checkout: Path = ROOT, cores: str = SERVER_CORE, **settings: object
) -> Iterator[Service]:
    """`authsvc serve` of a checkout with one worker, the default settings and these changes."""
    port, log = free_port(), directory / f"{name}.log"
    environment = {f"AUTHSVC_{key.upper()}": str(value) for key, value in settings.items()}
    environment |= {"AUTHSVC_REDIS_URL": on.url, "AUTHSVC_PORT": str(port)}
    command = [str(python(checkout).with_name("authsvc")), "serve"]
    ready = partial(_answers, port, "/readyz")
    with process(name, command, cores=cores, log=log, ready=ready, environment=environment, cwd=checkout):
        printed = log.read_text(errors="replace")
        found = re.search(r"client_id +(\S+)\n +client_secret +(\S+)", printed)
        yield Service(port, (found[1], found[2]) if found else None)


@contextmanager
def asgi(directory: Path, name: str, environment: Mapping[str, str], *, checkout: Path = ROOT) -> Iterator[int]:
    """One of the ASGI peers, under the same uvicorn as the authsvc of a checkout."""
    port = free_port()
    options = "--loop uvloop --http httptools --no-access-log --no-server-header --no-proxy-headers --lifespan off"
    command = [str(python(checkout)), "-m", "uvicorn", f"bench.peers.{name}:app", "--port", str(port), *options.split()]
    with process(
        name,
        command,
        cores=SERVER_CORE,
        log=directory / f"{name}.log",
        ready=lambda: listens(port),
        environment=environment,
    ):
        yield port


@contextmanager
def oidc_provider(directory: Path, installed: Path, on: Store, count: int) -> Iterator[tuple[int, list[str]]]:
    """node oidc-provider, and `count` access tokens that its own models have stored."""
    port = free_port()
    environment = {"BENCH_PORT": str(port), "BENCH_STORE_SOCKET": str(on.socket), "NODE_ENV": "production"}
    tokens = run(["node", "fill.js", str(count)], cwd=installed, environment=environment).split()
    with process(
        "oidc-provider",
        ["node", "server.js"],
        cores=SERVER_CORE,
        log=directory / "oidc_provider.log",
        ready=lambda: listens(port),
        environment=environment,
        cwd=installed,
    ):
        yield port, tokens


@contextmanager
def go_introspect(directory: Path, program: Path, on: Store, issuer: str) -> Iterator[int]:
    """The hand-tuned Go server on the records of authsvc. issuer: the `iss` of its answers."""
    port = free_port()
    environment = {"BENCH_PORT": str(port), "BENCH_STORE_SOCKET": str(on.socket), "BENCH_ISSUER": issuer}
    log = directory / "go_introspect.log"
    ready = partial(listens, port)
    with process("go_introspect", [str(program)], cores=SERVER_CORE, log=log, ready=ready, environment=environment):
        yield port


@contextmanager
def django_oauth_toolkit(directory: Path, installed: Path, count: int) -> Iterator[tuple[int, list[str]]]:
    """django-oauth-toolkit under gunicorn, one worker, and `count` access tokens in its database."""
    port = free_port()
    site = ROOT / "bench" / "peers" / "django_oauth_toolkit"
    environment = {"BENCH_DATABASE": str(directory / "django.sqlite3"), "PYTHONDONTWRITEBYTECODE": "1"}
    filler = [str(installed / "bin" / "python"), str(site / "site_of_one_file.py"), str(count)]
    tokens = run(filler, cwd=site, environment=environment).split()
    command = [str(installed / "bin" / "gunicorn"), "--bind", f"127.0.0.1:{port}", "--log-level", "error"]
    # The fastest worker of gunicorn here on one core: the `sync` worker closes each connection.
    command += ["--workers", "1", "--worker-class", "gthread", "--threads", "4", "site_of_one_file:application"]
    with process(
        "django-oauth-toolkit",
        command,
        cores=SERVER_CORE,
        log=directory / "django.log",
        ready=lambda: listens(port),
        environment=environment,
        cwd=site,
    ):
        yield port, tokens


def run(command: Sequence[str], *, cwd: Path = ROOT, environment: Mapping[str, str] | None = None) -> str:
    """Run a program to its end and return its output. Raises BenchError."""
    done = subprocess.run(
        command, cwd=cwd, env=clean_environment() | dict(environment or {}), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"{command[0]} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout


def clean_environment() -> dict[str, str]:
    """Our environment without the variables of authsvc, so that the service has its default settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AUTHSVC_")}


def other_redis() -> str | None:
    """A second server binary, to measure memory with another allocator. None if there is none."""
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and found != find_binary():
            return found
    return None


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(port: int, path: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
