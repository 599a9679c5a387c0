"""The store of deploy/valkey: its persistence, its users and their rights. Most other tests run on it, too."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import redis

from authsvc.checks.store import CHECKS
from authsvc.ops.binary import find_binary
from authsvc.ops.inspection import DANGEROUS
from tests.e2e.conftest import run
from tests.stores import SHIPPED, Secrets, StoreProcess, debian_redis, rights_of_the_service, running_store

pytestmark = pytest.mark.slow

URL = "redis://127.0.0.1:6379/0"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    return Secrets.made(tmp_path_factory.mktemp("store") / "secrets", URL)


@pytest.fixture(scope="module")
def store(secrets: Secrets) -> Iterator[StoreProcess]:
    with running_store(shipped=secrets) as store:
        yield store


@pytest.fixture
def operator(store: StoreProcess) -> Iterator["redis.Redis"]:
    with store.connect() as operator:
        yield operator


def user(operator: "redis.Redis", name: str) -> dict[str, Any]:
    found: Any = operator.acl_getuser(name)
    return dict(found)


def test_an_acknowledged_write_is_kept(operator: "redis.Redis") -> None:
    """Each write is on the disk before its reply, and the store never evicts a key."""
    found = operator.config_get("append*", "maxmemory*", "aof-load-truncated", "save", "protected-mode")
    assert found.items() >= {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "maxmemory": str(2**30),
        "aof-load-truncated": "yes",
        "save": "",
        "protected-mode": "yes",
    }.items()  # fmt: skip


@pytest.mark.parametrize("server", ["valkey", "redis"])
def test_a_restart_loads_every_transaction(server: str, tmp_path: Path) -> None:
    """After `kill -9` a server has every key again that a transaction or a script wrote.

    A server loads its file as the user `default`, and Redis 7.0 skips transactions that `default` has no right to.
    """
    binary = find_binary() if server == "valkey" else debian_redis()
    if binary is None:
        pytest.skip("no redis-server on the PATH")
    secrets = Secrets.made(tmp_path / "secrets", URL, binary)
    directory = tmp_path / "data"
    directory.mkdir()
    written = {"user:transaction", "session:transaction", "user:script", "session:script"}
    with running_store(binary=binary, directory=directory, shipped=secrets) as store, store.connect() as operator:
        operator.pipeline(transaction=True).set("user:transaction", 1).set("session:transaction", 1).execute()
        script = "redis.call('SET', KEYS[1], 1) redis.call('SET', KEYS[2], 1)"
        operator.eval(script, 2, "user:script", "session:script")
    with running_store(binary=binary, directory=directory, shipped=secrets) as store, store.connect() as operator:
        assert set(operator.scan_iter()) == written


def test_the_default_user_cannot_log_in(store: StoreProcess, operator: "redis.Redis") -> None:
    """The user `default` is off and has no empty password. Protected mode checks the same."""
    with redis.Redis(unix_socket_path=str(store.socket)) as nobody, pytest.raises(redis.AuthenticationError):
        nobody.ping()
    flags = user(operator, "default")["flags"]
    assert "off" in flags
    assert "nopass" not in flags


def test_the_service_has_exactly_the_rights_of_the_file(operator: "redis.Redis") -> None:
    """The service may run exactly the commands of the file, on the keys of store/keys.py."""
    found = user(operator, "authsvc")
    rights = rights_of_the_service()
    assert set(found["commands"]) >= {right for right in rights if right.startswith("+")}
    assert found["categories"] == ["-@all"]
    assert found["channels"] == []
    assert "~*" not in found["keys"]
    for command in DANGEROUS.values():
        assert "no permissions" in str(operator.acl_dryrun("authsvc", *command)), command
    assert "no permissions" in str(operator.acl_dryrun("authsvc", "GET", "somebody-else"))
    assert operator.acl_dryrun("authsvc", "GET", "session:x") == "OK"


@pytest.mark.parametrize(
    "command", [("FLUSHALL",), ("FLUSHDB",), ("SWAPDB", "0", "1"), ("KEYS", "*"), ("DEBUG", "SLEEP", "0")]
)
def test_an_operator_cannot_empty_the_store(operator: "redis.Redis", command: tuple[str, ...]) -> None:
    """An operator may not run commands that delete everything or block the service. All others are allowed."""
    with pytest.raises(redis.ResponseError, match=r"no permissions|not allowed"):
        operator.execute_command(*command)


def test_a_store_does_not_start_with_the_unfilled_file(tmp_path: Path) -> None:
    """The file of the repository holds no password, and a store does not start with it."""
    options = [str(SHIPPED / "valkey.conf"), "--aclfile", str(SHIPPED / "users.acl"), "--port", "0"]
    ended = subprocess.run([find_binary(), *options], cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert ended.returncode != 0
    assert "ACL" in ended.stdout


def test_passwords_are_made_once(secrets: Secrets) -> None:
    """Each run makes new secrets and keeps the ones in use. Only the owner of the folder can read them."""
    users = secrets.users.read_text()
    again = subprocess.run(["sh", str(SHIPPED / "make-secrets.sh"), str(secrets.directory)], capture_output=True)
    assert again.returncode == 1
    assert secrets.users.read_text() == users
    assert secrets.directory.stat().st_mode & 0o077 == 0
    assert secrets.operator_password not in users
    assert secrets.url.removesuffix("@127.0.0.1:6379/0").rpartition(":")[2] not in users
    assert len(secrets.operator_password) == 64


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("127.0.0.1:18111", "must begin with redis://"),
        ("http://127.0.0.1:6379", "must begin with redis://"),
        ("redis://", "must begin with redis://"),
        ("redis:/127.0.0.1:6379", "must begin with redis://"),
        ("redis://user:pw@127.0.0.1:6379/0", "has a user or a password already"),
        ("rediss://:pw@127.0.0.1:6379?ssl_ca_certs=/ca.pem", "has a user or a password already"),
        ("redis://user:p/w@127.0.0.1:6379", "has a user or a password already"),
        ("unix://user:pw@/run/valkey.sock", "has a user or a password already"),
        ("redis+sentinel://user:pw@a:26379,b:26379/main", "has a user or a password already"),
    ],
)
def test_a_url_that_can_t_get_a_password_is_refused(url: str, why: str, tmp_path: Path) -> None:
    """The script says why, shows no password and makes nothing."""
    folder = tmp_path / "secrets"
    done = subprocess.run(
        ["sh", str(SHIPPED / "make-secrets.sh"), str(folder), url], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert why in done.stderr
    assert "pw" not in done.stderr
    assert not folder.exists()


@pytest.mark.parametrize(
    ("url", "made"),
    [
        ("redis://127.0.0.1:6379/0", "redis://authsvc:PW@127.0.0.1:6379/0"),
        ("rediss://a?ssl_ca_certs=/c@a.pem", "rediss://authsvc:PW@a?ssl_ca_certs=/c@a.pem"),
        ("unix:///run/v@lkey.sock?db=0", "unix://authsvc:PW@/run/v@lkey.sock?db=0"),
        ("redis+sentinel://a:26379,b/main/0", "redis+sentinel://authsvc:PW@a:26379,b/main/0"),
        ("rediss+cluster://[::1]:6379,b", "rediss+cluster://authsvc:PW@[::1]:6379,b"),
    ],
)
def test_each_url_gets_the_password(url: str, made: str, tmp_path: Path) -> None:
    """The user and the password stand before the hosts or the path; the rest of the URL stays."""
    assert re.sub("[0-9a-f]{64}", "PW", Secrets.made(tmp_path / "secrets", url).url) == made


def test_authsvc_check_accepts_the_store(
    store: StoreProcess, secrets: Secrets, operator: "redis.Redis", tmp_path: Path
) -> None:
    """`authsvc check` accepts the store. With the rights of an operator it checks more than with the service's."""
    operator.set("service", json.dumps({"epoch": int(time.time() * 1000)}))
    service_url = secrets.url.replace("redis://", "unix://").replace("127.0.0.1:6379/0", str(store.socket))
    operator_url = f"unix://operator:{secrets.operator_password}@{store.socket}"
    for url, others in (
        (service_url, {"sync to disk": "unknown", "file cut short": "unknown"}),
        (operator_url, {"rights in the store": "warn"}),
    ):
        done = run("check", "--json", cwd=tmp_path, AUTHSVC_REDIS_URL=url)
        rows = {row["check"]: row["result"] for row in json.loads(done.stdout)["checks"]}
        found = {name: rows[name] for name in (check.name for check in CHECKS)}
        assert {name: result for name, result in found.items() if result not in ("pass", "n/a")} == others


def test_a_password_is_changed_without_a_gap(store: StoreProcess, secrets: Secrets, operator: "redis.Redis") -> None:
    """A new password works before the old one is removed, and the store saves it to its file."""
    operator.execute_command("ACL", "SETUSER", "authsvc", ">new", ">newer")
    for password in ("new", "newer"):
        with redis.Redis(unix_socket_path=str(store.socket), username="authsvc", password=password) as service:
            assert service.ping()
    operator.execute_command("ACL", "SETUSER", "authsvc", "<new")
    with (
        redis.Redis(unix_socket_path=str(store.socket), username="authsvc", password="new") as service,
        pytest.raises(redis.AuthenticationError),
    ):
        service.ping()
    operator.execute_command("ACL", "SAVE")
    assert sha256(b"newer").hexdigest() in secrets.users.read_text()
    assert sha256(b"new").hexdigest() not in secrets.users.read_text()
