"""The embedded store: a Valkey on a private socket, which is started again whenever it dies."""

import fcntl
import logging
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self, TextIO
from urllib.parse import unquote

from authsvc.errors import StartupError
from authsvc.ops.binary import find_binary
from authsvc.ops.data_dir import (
    LEAST_FREE,
    acquire,
    foreign_part,
    free_bytes,
    make_private,
    open_lock,
    owner_of,
    private,
    refuse_lost_manifest,
    socket_path,
    url_of,
)
from authsvc.waiting import until

logger = logging.getLogger("authsvc.ops.embedded")

LOCK_WAIT_S = 3.0  # long enough for a command that runs a store of its own for a moment
ORPHAN_WAIT_S = 30.0
STOP_WAIT_S = 2.0  # every acknowledged write is on the disk, so killing a Valkey that hangs loses nothing
LOG_LOADING_EVERY_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S, HEALTHY_AFTER_S = 0.1, 10.0, 60.0


class Embedded:
    """A supervised Valkey on a data directory of its own. Every acknowledged write is on the disk.

    `url` is for redis.from_url. `pid` is the process id of the latest Valkey.
    """

    def __init__(self, data_dir: Path) -> None:
        self._dir = data_dir.resolve()
        self._log = self._dir / "valkey.log"
        self._socket = socket_path(self._dir)
        self.url = url_of(self._dir)
        self.pid = 0
        self._locks = ExitStack()
        self._valkey_lock = -1
        self._binary = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._mutex = threading.Lock()  # no process may begin after stop() has chosen the process to end

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Return when Valkey has loaded its data and answers, however long that takes.

        Raises StartupError if there is no binary, if the directory is in use or unusable, or if Valkey exits.
        """
        self._binary = find_binary()
        try:
            self._take_directory()
            try:
                self._launch()
                self._thread = threading.Thread(target=self._supervise, name="valkey-supervisor", daemon=True)
                self._thread.start()
            except BaseException:  # also after Ctrl-C during a long load, neither process nor lock may stay
                self.stop()
                raise
        except OSError as error:
            raise StartupError(
                f"cannot run {self._binary} in {self._dir}: {error.strerror}: {error.filename}",
                todo="let this user write there, or choose another directory with AUTHSVC_DATA_DIR",
            ) from error

    def stop(self) -> None:
        """End Valkey cleanly and release the directory. Does nothing if Valkey was not started."""
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
        try:
            self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StartupError(
                f"cannot make the data directory {self._dir}: {error.strerror}",
                todo="set AUTHSVC_DATA_DIR to a directory that this user can make",
            ) from error
        if (fault := foreign_part(self._dir, os.geteuid())) is not None:
            raise StartupError(f"the data directory is not safe: {fault.what}", todo=fault.todo)
        if self._socket.parent != self._dir:
            make_private(self._socket.parent)
        with ExitStack() as locks:
            ours = locks.enter_context(open_lock(self._dir / "lock"))
            if not _within(LOCK_WAIT_S, lambda: acquire(ours, fcntl.LOCK_EX)):
                raise StartupError(f"{self._dir} is in use by process {owner_of(ours)[0]}: the service, or a command")
            _, former_url = owner_of(ours)
            ours.truncate(0)
            ours.write(f"{os.getpid()}\n{self.url}\n")
            ours.flush()
            valkeys = locks.enter_context(open_lock(self._dir / "valkey.lock"))
            if not acquire(valkeys, fcntl.LOCK_EX):
                self._end_orphan(former_url, valkeys)
            with self._mutex:
                self._stopping.clear()
                self._valkey_lock = valkeys.fileno()
                self._locks = locks.pop_all()

    def _end_orphan(self, url: str, lock: TextIO) -> None:
        """Shut down the Valkey of a killed owner. On return it has ended, and its lock is ours."""
        logger.warning("shutting down the valkey that a killed service left in %s", self._dir)

        def ended() -> bool:
            # Ask again until it works: a young orphan may have no socket yet.
            _ask(Path(unquote(url.removeprefix("unix://"))), "SHUTDOWN")
            return acquire(lock, fcntl.LOCK_EX)

        if not _within(ORPHAN_WAIT_S, ended):
            raise StartupError(f"a Valkey left by a killed service does not stop: end who holds {lock.name}")

    def _launch(self) -> None:
        """Start a process and return when it is ready. Raises StartupError if the process exits instead."""
        refuse_lost_manifest(self._dir)
        options = [
            *("--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"),
            *("--dir", str(self._dir), "--appendonly", "yes", "--appendfsync", "always", "--save", ""),
            *("--maxmemory-policy", "noeviction", "--daemonize", "no", "--logfile", str(self._log)),
        ]
        with self._mutex:
            if self._stopping.is_set():
                raise StartupError("stopped while starting")
            with open(self._log, "ab", opener=private) as log:
                log_start = log.tell()
                # A session of its own: Ctrl-C in the terminal reaches the service, which stops Valkey at its end.
                # PR_SET_PDEATHSIG would fire when the thread that forked ends, and needs preexec_fn.
                process = subprocess.Popen(  # noqa: S603 - no shell, and find_binary chose the program
                    [self._binary, *options],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    umask=0o077,
                    pass_fds=[self._valkey_lock],
                )
            self._process, self.pid = process, process.pid
        log_at = time.monotonic() + LOG_LOADING_EVERY_S
        while not (told := _ask(self._socket, "PING")).startswith(b"+PONG"):
            if told.startswith(b"-LOADING") and time.monotonic() >= log_at:
                if progress := _progress(self._socket):
                    logger.warning("waiting for the store, which is loading its data: %s", progress)
                log_at = time.monotonic() + LOG_LOADING_EVERY_S
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
            status = process.wait()  # returns at once if the last start failed
            if time.monotonic() - since > HEALTHY_AFTER_S:
                pause = FIRST_PAUSE_S
            if self._stopping.is_set():
                return
            logger.error("valkey (pid %d) exited with status %d, next in %.1f s", process.pid, status, pause)
            if (free := free_bytes(self._dir)) is not None and free < LEAST_FREE:
                logger.error("the disk of %s is full: make room, and valkey starts again by itself", self._dir)
            if self._stopping.wait(pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE_S)
            try:
                self._launch()
            except Exception as error:  # the cause may pass (memory, disk), and only this thread tries again
                if not self._stopping.is_set():
                    logger.error("valkey could not be started: %s", error)
            else:
                logger.warning("valkey is back (pid %d)", self.pid)


def _ask(path: Path, command: str) -> bytes:
    """The beginning of the reply, or nothing if no server answers."""
    # A bare socket: a client library would shake hands and retry before it reported anything.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2.0)
        try:
            connection.connect(str(path))
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(8192)
        except OSError:
            return b""


def _progress(path: Path) -> str | None:
    """How much a loading server has read of its files, and its guess how long the rest takes. None if it is done."""
    told = _ask(path, "INFO persistence")
    if b"\nloading:0" in told:
        return None
    fields = dict(re.findall(rb"loading_(loaded_perc|eta_seconds):([0-9]+)", told))
    if len(fields) < 2:
        return "it does not say how far it is"
    return f"{int(fields[b'loaded_perc'])} %, about {int(fields[b'eta_seconds'])} s left"


def _within(seconds: float, done: Callable[[], bool]) -> bool:
    return any(done() for _ in until(seconds, pause_s=0.02))


def _tail(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        return b"\n".join(file.read().splitlines()[-10:]).decode(errors="replace")
