"""The first command and the last: starting, the printed walk, stopping, and what refuses to start."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from authsvc import __version__
from authsvc.cli.statuses import INTERRUPTED, MISUSED, UNAVAILABLE
from authsvc.settings import Settings
from tests.e2e.conftest import AUTHSVC, PASSWORD, START_WITHIN_S, Server, clean, free_port, run
from tests.processes import in_time, processes_on, until
from tests.selection import one_in, slow
from tests.stores import running_store

NewServer = Callable[..., Server]


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_the_printed_walk_works_as_pasted(server: Server) -> None:
    """The first start prints an admin's secret and lines for the shell; pasted, they do what they promise."""
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("the walk is made for bash and curl, and one of them is missing")
    output = server.output
    assert f"authsvc {__version__} on {server.url}" in output
    assert str(server.data_dir) in output
    lines = [line.strip() for line in output.splitlines() if line.startswith("  ") and "client_" not in line[:16]]
    assert len(lines) == 6
    pasted = "\n".join(f"{line}\nprintf '\\n--\\n'" for line in lines)
    answers = subprocess.run(["bash", "-eu"], input=pasted, capture_output=True, text=True, check=True, timeout=60)
    _, created, token, before, revoked, after, _ = (text.strip() for text in answers.stdout.split("--\n"))
    user = json.loads(created)
    assert (user["username"], user["roles"], user["status"]) == ("ada", ["editor"], "active")
    assert token.startswith("tok_")
    assert len(token) == 49
    seen = json.loads(before)
    assert seen["active"] is True
    assert (seen["sub"], seen["username"], seen["roles"]) == (user["sub"], "ada", ["editor"])
    assert revoked == ""
    assert json.loads(after) == {"active": False}


@pytest.mark.slow
def test_a_second_start_keeps_everything_and_prints_no_secret(server: Server) -> None:
    """Users, clients and sessions are there again; the admin's secret is shown once."""
    assert server.admin[1].startswith("sec_")
    with server.http() as http:
        token = _begin(http, server)["access_token"]
        assert server.stop() == 0
        server.start()
        assert "sec_" not in server.output
        assert "client_secret" not in server.output
        assert server.admin[1] not in server.log
        assert http.post("/introspect", data={"token": token}, auth=server.admin).json()["active"]
        assert http.post("/login", json={"username": "ada", "password": PASSWORD}).status_code == 200


@pytest.mark.parametrize(
    ("number", "workers"),
    [(signal.SIGTERM, "1"), slow(signal.SIGINT, "2"), slow(signal.SIGTERM, "2"), slow(signal.SIGINT, "1")],
)
def test_a_signal_ends_server_and_valkey(new_server: NewServer, number: int, workers: str) -> None:
    """Sent to the whole process group, as by Ctrl-C: both end cleanly, nothing is left running or listening."""
    server = new_server(AUTHSVC_WORKERS=workers).start()
    with server.valkey() as valkey:
        pid = int(valkey.info("server")["process_id"])
    assert pid in processes_on(server.data_dir)
    code = server.stop(number)
    assert code == 0
    assert processes_on(server.data_dir) == []
    assert not list(server.data_dir.glob("*.sock"))
    assert "Traceback" not in server.log
    assert "ready to exit" in (server.data_dir / "valkey.log").read_text()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/healthz")


@pytest.mark.slow  # a long hash gets no time on a busy machine; test_sigterm_answers_what_crosses_with_it needs none
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_lets_requests_finish(new_server: NewServer, number: int) -> None:
    """Requests in progress get their answers, and the store keeps the answered changes."""
    # A hash that takes a while, so that there is something under way.
    server = new_server(AUTHSVC_ARGON2_TIME_COST="20", AUTHSVC_ARGON2_MEMORY_KIB="16384").start()
    with server.http() as http:
        _begin(http, server)
    answers: list[httpx.Response] = []

    def log_in() -> None:
        answers.append(httpx.post(f"{server.url}/login", json={"username": "ada", "password": PASSWORD}, timeout=30))

    with server.valkey() as valkey:
        before = valkey.info("commandstats")["cmdstat_eval"]["calls"]
        client = threading.Thread(target=log_in)
        client.start()
        until(lambda: valkey.info("commandstats")["cmdstat_eval"]["calls"] > before)  # it has reserved its attempt
    assert server.stop(number) == 0
    client.join(30)
    assert [answer.status_code for answer in answers] == [200]
    assert processes_on(server.data_dir) == []
    assert "Traceback" not in server.log
    server.start()
    with server.http() as http:
        token = answers[0].json()["access_token"]
        assert http.post("/introspect", data={"token": token}, auth=server.admin).json()["active"]


@pytest.mark.slow
def test_a_signal_during_an_outage(server: Server) -> None:
    """With a Valkey that hangs, SIGTERM still ends both within a bounded time."""
    (pid,) = processes_on(server.data_dir)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert httpx.get(f"{server.url}/readyz", timeout=10).status_code == 503
        began = time.monotonic()
        server.stop()
        in_time(time.monotonic() - began, 4)  # there is nothing under way, so that most of it is for Valkey
    finally:
        if processes_on(server.data_dir):
            os.kill(pid, signal.SIGCONT)
    assert processes_on(server.data_dir) == []


@pytest.mark.slow
def test_a_second_server_on_the_same_directory_is_refused(server: Server) -> None:
    """One clear line, and the first one does not notice."""
    second = run("serve", cwd=server.directory, AUTHSVC_PORT=str(free_port()), AUTHSVC_DATA_DIR=str(server.data_dir))
    assert second.returncode == UNAVAILABLE
    assert second.stdout == ""
    assert second.stderr.count("\n") == 1, second.stderr
    assert "a service is already running on" in second.stderr
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    assert len(processes_on(server.data_dir)) == 1


@pytest.mark.slow
@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 on this machine")
def test_an_ipv6_address(new_server: Callable[..., Server]) -> None:
    """Every URL has the address in brackets, and the metrics are on IPv6 too."""
    port = free_port()
    settings = {"AUTHSVC_METRICS_HOST": "::1", "AUTHSVC_METRICS_PORT": str(port)}
    server = new_server(AUTHSVC_HOST="::1", **settings).start()
    assert f"on http://[::1]:{server.port}, state in " in server.output
    assert f"curl -s 'http://[::1]:{server.port}'/login" in server.output
    metadata = httpx.get(f"{server.url}/.well-known/oauth-authorization-server").json()
    assert metadata["issuer"] == server.url
    answer = httpx.post(f"{server.url}/introspect", data={"token": "tok_x"}, auth=server.admin)
    assert answer.json() == {"active": False}
    assert "authsvc_requests_total" in httpx.get(f"http://[::1]:{port}/metrics").text


@pytest.mark.slow
@pytest.mark.skipif(not (_has_ipv6() and socket.has_dualstack_ipv6()), reason="no IPv6, or no socket for both")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_address_of_both_kinds(new_server: Callable[..., Server], workers: str) -> None:
    """With `::`, each port takes clients of IPv6 and of IPv4, whose addresses are those of IPv4."""
    console, metrics = free_port(), free_port()
    settings = {"HOST": "::", "CONSOLE_HOST": "::", "CONSOLE_PORT": console, "METRICS_HOST": "::"}
    settings |= {"METRICS_PORT": metrics, "WORKERS": workers}
    server = new_server(**{f"AUTHSVC_{name}": str(value) for name, value in settings.items()}).start()
    for host in ("127.0.0.1", "[::1]"):
        assert "authsvc_requests_total" in httpx.get(f"http://{host}:{metrics}/metrics").text
        assert httpx.get(f"http://{host}:{console}/login").status_code == 200
        answer = httpx.post(f"http://{host}:{server.port}/login", json={"username": "ada", "password": PASSWORD})
        assert answer.status_code == 401
    events = httpx.get(f"{server.url}/admin/audit", auth=server.admin).json()["items"]
    assert {event["ip"] for event in events if event["event"] == "login.failed"} == {"127.0.0.1", "::1"}
    assert "::ffff:" not in server.log


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    """A message that names the port, no Valkey left behind, and no secret lost on a first start."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("serve", cwd=tmp_path, AUTHSVC_PORT=str(port), AUTHSVC_DATA_DIR=str(tmp_path / "data"))
    assert result.returncode == UNAVAILABLE, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "address already in use" in result.stderr
    assert "--port or AUTHSVC_PORT" in result.stderr
    assert str(port) in result.stderr
    assert processes_on(tmp_path / "data") == []
    if "sec_" not in result.stdout:  # then the next start has to be the first one still
        again = Server(tmp_path, free_port(), {}).start()
        assert again.admin[1]
        assert again.stop() == 0


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    one_in(
        4,
        [
            ("AUTHSVC_REDIS_URL", "nonsense", False),
            ("AUTHSVC_PORT", "abc", True),
            ("AUTHSVC_FOO", "hunter2", False),
            ("AUTHSVC_MAX_SESSIONS", "0", True),
        ],
    ),
)
def test_wrong_settings_are_one_line(tmp_path: Path, name: str, value: str, shown: bool) -> None:
    """It names the variable, and what was in it only if that can be no secret."""
    result = run("serve", cwd=tmp_path, **{name: value})
    assert result.returncode == MISUSED
    assert result.stderr.count("\n") == 1, result.stderr
    assert name in result.stderr
    assert (value in result.stderr) == shown
    assert result.stdout == ""


@pytest.mark.parametrize(("option", "range_"), [("--port", "from 0 to 65535"), ("--workers", "from 1 to 256")])
@pytest.mark.parametrize("value", ["8x", "70000"])
def test_a_wrong_option_is_told_with_its_range(tmp_path: Path, option: str, range_: str, value: str) -> None:
    """In plain English, for what is no number and for what is too large."""
    result = run("serve", option, value, cwd=tmp_path)
    assert result.returncode == MISUSED
    assert f"Invalid value for '{option}': must be a whole number {range_}, not '{value}'" in result.stderr


def test_all_settings_are_listed(tmp_path: Path) -> None:
    """`serve --settings` has each variable with its default, also while one is wrong, and starts nothing."""
    result = run("serve", "--settings", cwd=tmp_path, AUTHSVC_PORT="abc")
    assert (result.returncode, result.stderr) == (0, "")
    names = [line.partition("=")[0] for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert names == [f"AUTHSVC_{name.upper()}" for name in Settings.model_fields]
    assert "\nAUTHSVC_PORT=8000\n    port to listen on\n" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc, where even root makes no directory")
def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """The message names the setting, and not the binary of the store."""
    result = run("serve", cwd=tmp_path, AUTHSVC_PORT="0", AUTHSVC_DATA_DIR="/proc/nope")
    assert result.returncode == UNAVAILABLE
    assert result.stderr == (
        "authsvc: cannot make the data directory /proc/nope: No such file or directory: "
        "set AUTHSVC_DATA_DIR to a directory that this user can make\n"
    )


# Runs `authsvc serve` after a change to the program.
_CHANGED = """
import os, signal, sys
from authsvc.serve import console, start
{change}
from authsvc.program import main
sys.argv = ["authsvc", "serve"]
main()
"""
_INTERRUPT = """
before = start.{where}
def interrupted(*given):
    os.kill(os.getpid(), signal.{signal})
    return before(*given)
start.{where} = interrupted
"""


def run_changed(change: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    settings = clean({"AUTHSVC_PORT": "0", "AUTHSVC_DATA_DIR": str(cwd / "data")} | environment)
    program = [sys.executable, "-c", _CHANGED.format(change=change)]
    return subprocess.run(program, cwd=cwd, env=settings, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("where", ["console_address", slow("_warn"), slow("banner"), slow("first_steps")])
@pytest.mark.parametrize("name", ["SIGINT", slow("SIGTERM")])
def test_an_interrupted_first_start_shows_its_secret(tmp_path: Path, where: str, name: str) -> None:
    """Whatever interrupts the start after it has made the secret: no later start shows it, so this one does."""
    console = {"AUTHSVC_CONSOLE_PORT": str(free_port())}
    result = run_changed(_INTERRUPT.format(where=where, signal=name), tmp_path, **console)
    assert result.returncode == (INTERRUPTED if name == "SIGINT" else 0), result.stderr
    assert re.search(r"client_secret +sec_", result.stdout), result.stdout
    assert processes_on(tmp_path / "data") == []


@pytest.mark.slow
def test_a_start_that_waits_for_its_store_can_be_interrupted(tmp_path: Path) -> None:
    """There is no secret yet that could be lost."""
    store = {"AUTHSVC_REDIS_URL": f"redis://127.0.0.1:{free_port()}", "AUTHSVC_STORE_WAIT_S": "600"}
    result = run_changed(_INTERRUPT.format(where="build", signal="SIGINT"), tmp_path, **store)
    assert result.returncode == INTERRUPTED, result.stderr
    assert "client_secret" not in result.stdout


@pytest.mark.slow
def test_a_console_that_cannot_listen_is_said_on_the_screen(tmp_path: Path) -> None:
    """Without AUTHSVC_CONSOLE_PORT, the start goes on without a console, and prints why and which setting helps."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        change = f"console.DEFAULT_PORT = {port}; start._run = lambda *_: None"
        environment = clean({"AUTHSVC_PORT": "0", "AUTHSVC_DATA_DIR": str(tmp_path / "data")})
        del environment["AUTHSVC_CONSOLE_PORT"]
        program = [sys.executable, "-c", _CHANGED.format(change=change)]
        result = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert (
        f"There is no console for admins: can't listen on 127.0.0.1, port {port}: address already in use; "
        "choose another port with AUTHSVC_CONSOLE_PORT."
    ) in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("AUTHSVC_PROT", "1", "did you mean AUTHSVC_PORT?"),
        ("AUTHSVC_ISSUER", "auth.example.org", "such as https://auth.example.org"),
        ("AUTHSVC_ISSUER", "ftp://auth.example.org", "such as https://auth.example.org"),
    ],
)
def test_a_wrong_setting_comes_with_its_remedy(tmp_path: Path, name: str, value: str, remedy: str) -> None:
    """A typing error in a name gets the name that was meant. An issuer is a whole URL."""
    result = run("serve", cwd=tmp_path, **{name: value})
    assert result.returncode == MISUSED
    assert name in result.stderr
    assert remedy in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("AUTHSVC_APP_LOGO", "GIF89a", "is none of SVG"),
        ("AUTHSVC_APP_TEXTS", "[login]\ntitel = 'x'", "no text login.titel"),
    ],
)
def test_account_pages_that_cannot_be_made(tmp_path: Path, name: str, content: str, said: str) -> None:
    """A logo or a translation that does not fit stops the start with one line."""
    (tmp_path / "file").write_text(content)
    result = run("serve", cwd=tmp_path, AUTHSVC_PORT="0", AUTHSVC_ACCOUNT_PAGES="on", **{name: str(tmp_path / "file")})
    assert result.returncode == UNAVAILABLE
    assert result.stderr.count("\n") == 1, result.stderr
    assert name in result.stderr
    assert said in result.stderr


@pytest.mark.slow
def test_the_first_admin_goes_into_a_file(new_server: NewServer, tmp_path: Path) -> None:
    """The file is for its owner only, and works as credentials. The secret is in no output. Later starts keep it."""
    file = tmp_path / "first-admin"
    server = new_server(AUTHSVC_FIRST_ADMIN_OUT=str(file)).start()
    assert file.stat().st_mode & 0o777 == 0o600
    client_id, secret = file.read_text().strip().split(":")
    assert str(file) in server.output
    assert secret not in server.output + server.log
    with server.http() as http:
        assert http.get("/admin/users", auth=(client_id, secret)).status_code == 200
    assert server.stop() == 0
    server.start()
    assert file.read_text() == f"{client_id}:{secret}\n"


@pytest.mark.slow
def test_a_first_admin_without_a_file_is_printed(new_server: NewServer, tmp_path: Path) -> None:
    """A file that can't be written loses no secret: the start prints it, and the log says why."""
    server = new_server(AUTHSVC_FIRST_ADMIN_OUT=str(tmp_path / "nowhere" / "first-admin")).start()
    assert server.admin[1].startswith("sec_")
    assert "the first admin is not in" in server.log


@pytest.mark.slow
def test_the_banner_tells_where_it_listens(new_server: NewServer) -> None:
    """With an issuer, the banner has both addresses."""
    server = new_server(AUTHSVC_ISSUER="https://auth.example.org").start()
    assert f"on {server.url} (https://auth.example.org to others)" in server.output


@pytest.mark.slow
def test_a_directory_that_others_can_look_into_is_a_warning(new_server: NewServer) -> None:
    """The start goes on: the files in the directory are private."""
    server = new_server()
    server.data_dir.mkdir(mode=0o755)
    server.start()
    assert "others can look into the data directory" in server.log
    assert "(0755): chmod 700 it" in server.log


@pytest.mark.slow
def test_development(new_server: NewServer) -> None:
    """--dev: pages on localhost may call, and the user that it prints can log in. The next start prints no password."""
    server = new_server()
    server.arguments = ("--dev",)
    server.start()
    printed = re.search(r"log in as demo with the password (\S+),", server.output)
    assert printed is not None
    body = {"username": "demo", "password": printed[1]}
    with server.http() as http:
        answer = http.post("/login", json=body, headers={"Origin": "http://localhost:5173"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"
        refused = http.post("/login", json=body, headers={"Origin": "http://localhost:9999"})
        assert "access-control-allow-origin" not in refused.headers
    assert server.stop() == 0
    server.start()
    assert "password" not in server.output


@pytest.mark.slow
def test_development_makes_no_user_in_a_configured_store(new_server: NewServer) -> None:
    """Others may use a configured store."""
    with running_store() as store:
        server = new_server(AUTHSVC_REDIS_URL=store.url)
        server.arguments = ("--dev",)
        server.start()
        assert "demo" not in server.output
        with store.connect() as client:
            assert not client.exists("login:demo")
        server.stop()


@pytest.mark.slow
def test_development_is_for_this_machine(tmp_path: Path) -> None:
    """--dev refuses an address that others can reach."""
    result = run("serve", "--dev", cwd=tmp_path, AUTHSVC_HOST="0.0.0.0")  # noqa: S104 - it refuses that
    assert result.returncode == UNAVAILABLE
    assert "--dev is for this machine only" in result.stderr


@pytest.mark.slow
def test_an_unfit_store_is_a_warning(tmp_path: Path) -> None:
    """The service starts, serves no traffic (/readyz is 503), and the log says why in words."""
    port = free_port()
    with running_store("--maxmemory-policy", "allkeys-lru") as store, (tmp_path / "log").open("wb") as log:
        environment = clean({"AUTHSVC_PORT": str(port), "AUTHSVC_REDIS_URL": store.url})
        process = subprocess.Popen([AUTHSVC, "serve"], cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            until(lambda: b"set maxmemory-policy noeviction" in (tmp_path / "log").read_bytes(), START_WITHIN_S)
            until(lambda: _status(f"http://127.0.0.1:{port}/readyz") == 503, START_WITHIN_S)
            assert _status(f"http://127.0.0.1:{port}/healthz") == 200
        finally:
            process.terminate()
            assert process.wait(30) == 0


def _status(url: str) -> int | None:
    try:
        return httpx.get(url).status_code
    except httpx.TransportError:
        return None


@pytest.mark.slow
def test_an_unreachable_store_is_one_line(tmp_path: Path) -> None:
    """AUTHSVC_REDIS_URL without anybody there: said at the start."""
    result = run(
        "serve", cwd=tmp_path, AUTHSVC_REDIS_URL=f"redis://:pa55w0rd@127.0.0.1:{free_port()}", AUTHSVC_PORT="0"
    )
    assert result.returncode == UNAVAILABLE
    assert "Traceback" not in result.stderr
    assert "store" in result.stderr.splitlines()[-1]
    assert "pa55w0rd" not in result.stderr
    assert not (tmp_path / "authsvc-data").exists()


def _begin(http: httpx.Client, server: Server) -> dict[str, str]:
    """Ada, logged in."""
    created = http.post("/admin/users", json={"username": "ada", "password": PASSWORD}, auth=server.admin)
    assert created.status_code == 201, created.text
    answer = http.post("/login", json={"username": "ada", "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    tokens: dict[str, str] = answer.json()
    return tokens
