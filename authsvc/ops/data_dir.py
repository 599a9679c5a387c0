"""The data directory of an embedded store: its socket, its locks, and who owns it.

Two locks guard the directory. The owner holds `lock`. The owner and its Valkey, which inherits it, hold `valkey.lock`.
A process that gets the first lock and not the second knows that a Valkey outlived its killed owner. So two servers
never write to one append-only file.
"""

import fcntl
import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import TextIO

from authsvc.errors import StartupError

SUN_PATH_BYTES = 100  # sockaddr_un takes 104 on macOS and 108 on Linux, each with a final NUL


def running_url(data_dir: Path) -> str | None:
    """The URL of the Valkey on this data directory, or None if no process owns the directory.

    The server may still be loading. Raises StartupError if this process may not look into the directory.
    """
    try:
        with (data_dir / "lock").open() as lock:
            # A shared lock: two processes that look must not take each other for the owner.
            return None if acquire(lock, fcntl.LOCK_SH) else owner_of(lock)[1] or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartupError(f"cannot look into the data directory {data_dir}: {error}") from error


def socket_path(data_dir: Path) -> Path:
    """Where the socket goes: into the directory, or into the temporary one if the path is too long for a socket."""
    path = data_dir / "valkey.sock"
    if len(os.fsencode(path)) <= SUN_PATH_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"authsvc-{os.getuid()}-{name}" / "valkey.sock"
    if len(os.fsencode(path)) > SUN_PATH_BYTES:  # Valkey would silently cut the path and listen elsewhere
        raise StartupError(f"{path} is too long for a socket: choose a shorter data directory or TMPDIR")
    return path


def make_private(directory: Path) -> None:
    """Make a directory that only this user can enter. Raises StartupError if another user made it before."""
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()  # in a shared directory the name may be another user's symbolic link
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StartupError(f"{directory} must be a directory of ours with mode 0700: remove it")


def private(path: str, flags: int) -> int:
    """An opener for files that only this user can read."""
    return os.open(path, flags, 0o600)


def open_lock(path: Path) -> TextIO:
    # Private, because every process that can read the file can lock it. The file stays: a lock on a removed file
    # would exclude no other process.
    return open(path, "a+", opener=private)


def acquire(file: TextIO, how: int) -> bool:
    """Take the lock if it is free. Returns whether it was."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def owner_of(lock: TextIO) -> tuple[str, str]:
    """The pid and the URL that the last owner wrote, or empty texts if there was no owner."""
    lock.seek(0)
    pid, url, *_ = *lock.read().splitlines(), "", ""
    return pid, url
