"""The systemd unit is valid and strict, and the service runs under its confinement."""

import ctypes.util
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from authsvc.settings import Settings
from tests.deploy import unit
from tests.deploy.walk import walk
from tests.e2e.conftest import AUTHSVC, Server
from tests.processes import until
from tests.stores import Secrets, running_store

# The exposure that systemd-analyze may report, in tenths. 100 is a service without confinement.
EXPOSED_AT_MOST = 15

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze: apt-get install systemd"
)


def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit and its drop-in, with the local path of the program."""
    path = tmp_path / "authsvc.service"
    path.write_text(unit.UNIT.read_text().replace("/opt/authsvc/bin/authsvc", AUTHSVC))
    (tmp_path / "authsvc.service.d").mkdir()
    shutil.copy(unit.STORE, tmp_path / "authsvc.service.d")
    return path


def test_systemd_accepts_the_unit(installed: Path) -> None:
    """systemd accepts the unit without a warning, even about misspelt settings."""
    done = analyze("verify", str(installed))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_is_strict(installed: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSED_AT_MOST}", str(installed))
    assert done.returncode == 0, done.stdout


def test_the_page_states_the_exposure(installed: Path) -> None:
    """docs/deploy.md names a version of systemd and the exposure that this version reports."""
    said = re.search(
        r"gives it ([\d.]+) of 10 \(systemd (\d+)\)", (unit.UNIT.parents[2] / "docs/deploy.md").read_text()
    )
    assert said
    version = re.search(r"systemd (\d+)", analyze("--version").stdout)
    if version is None or version[1] != said[2]:
        pytest.skip(f"the page speaks of systemd {said[2]}")
    report = analyze("security", "--offline=true", str(installed)).stdout
    found = re.search(r"exposure level for \S+: ([\d.]+)", report)
    assert found
    assert found[1] == said[1]


def test_the_unit_runs_the_installed_program() -> None:
    """The unit runs the command of docs/deploy.md in the environment of that page."""
    (command,) = unit.lines(unit.UNIT.read_text(), "ExecStart")
    assert command == "/opt/authsvc/bin/authsvc serve"
    assert "python3 -m venv /opt/authsvc" in (unit.UNIT.parents[2] / "docs" / "deploy.md").read_text()


def test_the_unit_opens_no_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no console with the unit alone. The file of the operator's settings comes later, so it can open one."""
    text = unit.UNIT.read_text()
    unit.prepare(text, tmp_path)
    for name, value in unit.environment(text, tmp_path).items():
        monkeypatch.setenv(name, value)
    assert Settings.from_environment().console_port == 0
    assert text.index("\nEnvironment=") < text.index("\nEnvironmentFile=-/etc/authsvc/authsvc.env\n")


def test_systemd_waits_longer_than_the_service_takes_to_end() -> None:
    """systemd sends SIGTERM to the main process alone and waits longer than the ten seconds of the service."""
    text = unit.UNIT.read_text()
    assert unit.lines(text, "KillMode") == ["mixed"]
    assert int(unit.lines(text, "TimeoutStopSec")[0]) > 10
    assert unit.lines(text, "Restart") == ["always"]


@pytest.fixture
def confined(new_server: Callable[..., Server]) -> Callable[..., Server]:
    """A service under the confinement and in the environment of the unit."""
    if ctypes.util.find_library("seccomp") is None:
        pytest.skip("no libseccomp: apt-get install libseccomp2")

    def make(redis_url: str | None = None, *, without: str = "", workers: int = 1) -> Server:
        server = new_server()
        text = unit.UNIT.read_text()
        if redis_url is not None:
            text += unit.STORE.read_text()
            (server.directory / "redis_url").write_text(redis_url)
            (server.directory / "factor.key").write_text("the same key on each machine of this store")
        unit.prepare(text, server.directory)
        server.environment = unit.environment(text, server.directory)
        server.environment["AUTHSVC_DATA_DIR"] = str(server.data_dir)
        server.environment["AUTHSVC_WORKERS"] = str(workers)
        server.environment["PYTHONPATH"] = str(unit.UNIT.parents[2])
        server.prefix = (sys.executable, "-m", "tests.deploy.unit", f"--without={without}")
        return server.start()

    return make


def assert_one_time_codes(server: Server) -> None:
    """The service has a factor key, so it offers one-time codes."""
    with server.http() as http:
        told = http.get("/.well-known/oauth-authorization-server").json()
    assert "totp" in told["login_methods_supported"]


def test_the_factor_key_is_made_once(tmp_path: Path) -> None:
    """A start keeps the key of the start before. Only the service can read it."""
    text = unit.UNIT.read_text()
    unit.prepare(text, tmp_path)
    key = tmp_path / "authsvc-factor-key" / "key"
    made = key.read_text()
    assert len(made.strip()) >= 32
    assert key.stat().st_mode & 0o777 == 0o600
    unit.prepare(text, tmp_path)
    assert key.read_text() == made


@pytest.mark.slow
def test_the_service_runs_confined(confined: Callable[..., Server]) -> None:
    """The confined service starts its own Valkey. SIGHUP replaces the workers, and SIGTERM ends all processes."""
    server = confined(workers=2)
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    walk(server)
    assert_one_time_codes(server)
    before = children(server.process.pid)
    server.process.send_signal(signal.SIGHUP)
    pid = server.process.pid
    until(lambda: len(before - children(pid)) == 2, 20)  # workers
    server.process.terminate()
    assert server.process.wait(15) == 0


@pytest.mark.slow
def test_the_confined_service_uses_an_external_store(confined: Callable[..., Server], tmp_path: Path) -> None:
    """The URL of the store comes from the credential of store.conf. The service then stores no data locally."""
    secrets = Secrets.made(tmp_path / "secrets", f"unix://{tmp_path}/store.sock")
    with running_store(shipped=secrets, directory=tmp_path):
        server = confined(secrets.url)
        walk(server)
        assert_one_time_codes(server)
        assert not server.data_dir.exists()


@pytest.mark.slow
def test_logins_work_without_the_idle_scheduling_class(confined: Callable[..., Server]) -> None:
    """If the confinement forbids the idle scheduling class, the service hashes passwords without it."""
    walk(confined(without="SystemCallFilter=setpriority"))


def test_the_confinement_refuses_forbidden_calls() -> None:
    """The confinement of these tests refuses a mount, a raw socket, and code that is written and then run."""
    program = (
        "import ctypes, mmap, socket, sys\n"
        "from tests.deploy import unit\n"
        "unit.confine(unit.UNIT.read_text())\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "assert libc.mount(b'none', b'/mnt', b'tmpfs', 0, None) == -1 and ctypes.get_errno() == 1\n"
        "attempts = (lambda: mmap.mmap(-1, 4096, prot=7), lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))\n"
        "for attempt in attempts:\n"
        "    try: attempt()\n"
        "    except PermissionError: continue\n"
        "    sys.exit(1)\n"
    )
    root = unit.UNIT.parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
