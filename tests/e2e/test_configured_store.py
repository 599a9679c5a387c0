"""AUTHSVC_REDIS_URL: the service uses that server and starts none."""

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from authsvc.ops.binary import find_binary
from tests.e2e.conftest import AUTHSVC, PASSWORD, Server, clean, free_port, run
from tests.processes import until
from tests.selection import slow
from tests.stores import debian_redis, is_redis_7_0, rights_of_the_service, running_store


@pytest.fixture(params=[slow("valkey"), slow("redis-server"), "least privilege"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A server over TCP, with a password; once the Valkey that is found, once the redis-server on the PATH.

    With least privilege the service has a user of its own, with the rights of deploy/valkey/users.acl and no more.
    """
    binary = shutil.which("redis-server") if request.param == "redis-server" else find_binary()
    if binary is None:
        pytest.skip("no redis-server on the PATH")
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", "s3cret", "--dir"]
    process = subprocess.Popen([binary, *options, str(tmp_path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"redis://:s3cret@127.0.0.1:{port}/0"
    try:
        until(lambda: _answers(url))
        if request.param == "least privilege":
            with redis.Redis.from_url(url) as operator:
                operator.execute_command("ACL", "SETUSER", "authsvc", "on", ">s3cret", *rights_of_the_service())
            url = f"redis://authsvc:s3cret@127.0.0.1:{port}/0"
        yield url
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    with redis.Redis.from_url(url, retry=None) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False


def test_a_configured_store_is_used(store: str, new_server: Callable[..., Server]) -> None:
    """The whole walk, from creating a user to the end of every session; nothing is started, nothing left behind."""
    server = new_server(AUTHSVC_REDIS_URL=store).start()
    assert not server.data_dir.exists()
    assert "s3cret" not in server.output + server.log
    where = f"{store.rpartition('@')[2].removesuffix('/0')}, database 0"
    assert f", state in {where}\n" in server.output
    assert server.log.count(f"first start: set up an empty store, {where}") == 1
    with server.http() as http, redis.Redis.from_url(store) as client:
        ada = {"username": "ada", "password": PASSWORD}
        created = http.post("/admin/users", json={**ada, "roles": ["editor"]}, auth=server.admin)
        assert created.status_code == 201
        sub = created.json()["sub"]

        def active(token: str) -> bool:
            answer = http.post("/introspect", data={"token": token}, auth=server.admin)
            assert answer.status_code == 200
            return bool(answer.json()["active"])

        first = http.post("/login", json=ada).json()
        second = http.post("/login", json=ada).json()
        assert client.exists(f"session:{first['session_id']}")
        form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": first["refresh_token"]}
        rotated = http.post("/token", data=form).json()
        assert active(rotated["access_token"])
        assert http.post("/token", data=form).json()["access_token"] == rotated["access_token"]
        bearer = {"Authorization": f"Bearer {rotated['access_token']}"}
        assert http.get("/me", headers=bearer).json()["username"] == "ada"
        assert len(http.get("/sessions", headers=bearer).json()["items"]) == 2
        assert http.post("/revoke", data={"token": second["access_token"]}, auth=server.admin).status_code == 200
        assert not active(second["access_token"])
        change = {"current_password": PASSWORD, "new_password": "a swim across the lake"}
        renewed = http.post("/password", json=change, headers=bearer).json()
        assert active(renewed["access_token"])
        renamed = http.patch(f"/admin/users/{sub}", json={"username": "Countess"}, auth=server.admin)
        assert renamed.json()["username"] == "Countess"
        assert http.post("/login", json=ada).status_code == 401
        issued = http.post("/tokens", json={"sub": "elsewhere|1"}, auth=server.admin).json()
        assert active(issued["access_token"])
        assert http.post("/revoke", data={"all": "true"}, auth=server.admin).status_code == 200
        assert not active(issued["access_token"])
        assert not active(renewed["access_token"])
        events = http.get("/admin/audit", auth=server.admin).json()["items"]
        assert "service.cut_off" in [event["event"] for event in events]
    assert server.stop() == 0
    with redis.Redis.from_url(store) as client:
        assert client.exists("service"), "it is not ours to stop"


@pytest.mark.slow
def test_a_promise_that_nobody_could_keep(tmp_path: Path) -> None:
    """The embedded store has no replica, so the service does not start on the promise that one has everything."""
    ended = run("serve", cwd=tmp_path, AUTHSVC_DURABILITY="replica")
    assert ended.returncode != 0
    assert "AUTHSVC_DURABILITY=replica needs AUTHSVC_REDIS_URL" in ended.stderr
    assert not (tmp_path / "authsvc-data").exists()


@pytest.mark.slow
def test_the_embedded_store_keeps_what_it_says(new_server: Callable[..., Server]) -> None:
    """It fsyncs each write, so the promise of its disk is kept."""
    server = new_server(AUTHSVC_DURABILITY="disk").start()
    with server.http() as http:
        token = http.post("/tokens", json={"sub": "elsewhere|1"}, auth=server.admin).json()["access_token"]
        for _ in range(2):
            assert http.post("/revoke", data={"token": token}, auth=server.admin).status_code == 200


@pytest.mark.slow
def test_a_start_waits_for_its_store(tmp_path: Path, new_server: Callable[..., Server]) -> None:
    """With AUTHSVC_STORE_WAIT_S a start waits for a store that is away. It serves when the store is there."""
    socket = tmp_path / "store.sock"
    server = new_server(AUTHSVC_REDIS_URL=f"unix://{socket}", AUTHSVC_STORE_WAIT_S="60")
    starting = threading.Thread(target=server.start)
    starting.start()
    until(lambda: (server.directory / "stderr").exists() and "store unavailable" in server.log, 30)
    with running_store(directory=tmp_path):
        starting.join(30)
        assert not starting.is_alive()
        with server.http() as http:
            assert http.get("/readyz").status_code == 200


@pytest.mark.slow
def test_a_start_gives_up(tmp_path: Path) -> None:
    """With 0 a start fails at once if the store is away, and names the setting."""
    url = f"unix://{tmp_path}/nothing.sock"
    done = run("serve", cwd=tmp_path, AUTHSVC_REDIS_URL=url, AUTHSVC_STORE_WAIT_S="0", AUTHSVC_PORT="0")
    assert done.returncode != 0
    assert "AUTHSVC_STORE_WAIT_S" in done.stderr


def test_an_outage_is_one_line(tmp_path: Path) -> None:
    """A start that tries again and again writes one line: where, what and what to do. Its last message says it too."""
    url = f"redis://:s3cret@127.0.0.1:{free_port()}"
    done = run("serve", cwd=tmp_path, AUTHSVC_REDIS_URL=url, AUTHSVC_STORE_WAIT_S="2", AUTHSVC_PORT="0")
    assert done.returncode != 0
    assert "s3cret" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if "connection refused" in line]
    assert len(lines) == 2, done.stderr
    for line in lines:
        assert url.rpartition("@")[2] in line
        assert "Start the store, or correct the address in AUTHSVC_REDIS_URL" in line


@pytest.mark.slow
def test_a_start_on_a_store_without_waitaof_says_so(tmp_path: Path) -> None:
    """At the level `disk`, the log of a start on Redis 7.0 names the versions that can do it."""
    debian = debian_redis()
    if debian is None or not is_redis_7_0(debian):
        pytest.skip("no Redis 7.0 on the PATH")
    with running_store("--appendonly", "yes", "--appendfsync", "always", binary=debian) as store:
        environment = clean({"AUTHSVC_REDIS_URL": store.url, "AUTHSVC_DURABILITY": "disk", "AUTHSVC_PORT": "0"})
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen([AUTHSVC, "serve"], env=environment, stdout=log, stderr=log)
        try:
            until(lambda: b"disk needs Redis 7.2 or Valkey 7.2, or newer" in (tmp_path / "log").read_bytes(), 30)
        finally:
            process.terminate()
            process.wait(60)


@pytest.mark.slow
@pytest.mark.parametrize(("rights", "warns"), [("-@all", True), ("+@all", False)])
def test_a_start_on_a_store_that_would_lose_transactions_says_so(tmp_path: Path, rights: str, warns: bool) -> None:
    """Redis 7.0 loads its file with the rights of the user `default`, and skips transactions without them."""
    debian = debian_redis()
    if debian is None or not is_redis_7_0(debian):
        pytest.skip("no Redis 7.0 on the PATH")
    with running_store("--appendonly", "yes", binary=debian) as store, store.connect() as operator:
        mine = [right for right in rights_of_the_service() if right not in ("+waitaof", "+client|setinfo")]
        operator.execute_command("ACL", "SETUSER", "authsvc", "on", ">pw", *mine)
        operator.execute_command("ACL", "SETUSER", "default", "off", "resetpass", "~*", "&*", rights)
        url = f"unix://authsvc:pw@{store.socket}"
        server = Server(tmp_path, free_port(), {"AUTHSVC_REDIS_URL": url}).start()
        try:
            assert ("a restart of the store loses users and revocations" in server.log) == warns
        finally:
            server.stop()


@pytest.mark.slow
def test_a_waiting_start_can_be_stopped(tmp_path: Path, new_server: Callable[..., Server]) -> None:
    """SIGTERM ends a start that waits."""
    url = f"unix://{tmp_path}/nothing.sock"
    server = new_server(AUTHSVC_REDIS_URL=url, AUTHSVC_STORE_WAIT_S="3600")
    with (tmp_path / "log").open("wb") as log:
        environment = clean({"AUTHSVC_PORT": str(server.port), **server.environment})
        command = [server.program, "serve"]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    until(lambda: b"store unavailable" in (tmp_path / "log").read_bytes(), 30)
    process.terminate()
    process.wait(60)
