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
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO
from urllib.parse import quote

from authsvc.errors import StartupError

# With less free space, a disk counts as full. A rewrite of the append-only file takes more than that.
LEAST_FREE = 16 * 2**20

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
# The name of Valkey's own choice. It lists the files that belong to the data.
_MANIFEST = "appendonly.aof.manifest"
# The bytes of the base file of an empty store, at most; Valkey 9.1 writes 89.
_EMPTY_BASE = 128
SUN_PATH_BYTES = 100  # sockaddr_un takes 104 on macOS and 108 on Linux, each with a final NUL


def running_url(data_dir: Path) -> str | None:
    """The URL of the Valkey on this data directory, or None if no process owns the directory.

    The server may still be loading. Raises StartupError if this process may not look into the directory.
    """
    try:
        with open(data_dir / "lock", opener=private) as lock:
            # A shared lock: two processes that look must not take each other for the owner.
            return None if acquire(lock, fcntl.LOCK_SH) else owner_of(lock)[1] or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartupError(
            f"cannot look into the data directory {data_dir}: {error.strerror}: {error.filename}",
            todo="run this as the user of the service, or set AUTHSVC_DATA_DIR",
        ) from error


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


def url_of(data_dir: Path) -> str:
    """The URL of the embedded store on this directory, whether it runs or not. Raises StartupError."""
    return "unix://" + quote(str(socket_path(data_dir.resolve())))


def is_embedded(url: str, data_dir: Path) -> bool:
    """Whether this is the URL of the embedded store on this directory."""
    try:
        return url == url_of(data_dir)
    except StartupError:  # no store runs on such a directory
        return False


def free_bytes(directory: Path) -> int | None:
    """The space that this user may still fill on the directory's disk. None: there is no such directory."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def make_private(directory: Path) -> None:
    """Make a directory that only this user can enter. Raises StartupError if another user made it before."""
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()  # in a shared directory the name may be another user's symbolic link
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StartupError(f"{directory} must be a directory of ours with mode 0700: remove it")


def refuse_lost_manifest(directory: Path) -> None:
    """Raise StartupError if the append-only files lack their manifest.

    Valkey would start empty, and a later start with the manifest of that start would load some of the old files. A
    first start that was killed before it wrote the manifest leaves files in which nothing is stored.
    """
    folder = directory / "appendonlydir"
    sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("appendonly.aof.*"))}
    stored = any(size > (_EMPTY_BASE if ".base." in name else 0) for name, size in sizes.items())
    if stored and _MANIFEST not in sizes:
        raise StartupError(
            f"{folder / _MANIFEST} is missing, and without it the store would start empty beside {', '.join(sizes)}",
            todo=f"restore the data directory from a backup. If nothing was ever stored here, remove {folder}",
        )


class Foreign(NamedTuple):
    """A part of a data directory that others can change or have put there, and the remedy."""

    what: str
    todo: str


def foreign_part(directory: Path, owner: int) -> Foreign | None:
    """The first foreign part of a data directory. None: only the owner, a user id, can change it.

    The store believes all that it finds there: a file of another user brings its own admin, and a symbolic link makes
    the service write to the file behind it. No remedy removes what may hold all users.
    """
    for path in [directory, *_inside(directory)]:
        try:
            found = path.lstat()
        except FileNotFoundError:  # a running Valkey replaces its files
            continue
        if found.st_uid != owner:
            return Foreign(
                f"{path} belongs to the user with id {found.st_uid}",
                "run the service as that user; or chown it, if you know that its contents are yours; or choose another "
                "directory with AUTHSVC_DATA_DIR",
            )
        if not (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode) or stat.S_ISSOCK(found.st_mode)):
            return Foreign(
                f"{path} is neither a file nor a directory", "put the file itself there, if it is one of the store's"
            )
        if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
            return Foreign(f"{path} has a second name", "put a copy of the file in its place")
        if found.st_mode & _WRITABLE_BY_OTHERS:
            return Foreign(f"others can write to {path}", "chmod go-w it, and make sure that its contents are yours")
    for parent in directory.parents:
        found = parent.stat()
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            return Foreign(
                f"everybody can write to {parent}, and so replace {directory}", "choose another data directory"
            )
    return None


def _inside(directory: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(directory, onerror=_raise):  # os.walk does not follow symbolic links
        yield from (Path(folder) / name for name in (*folders, *files))


def _raise(error: OSError) -> None:
    raise error


def private(path: str, flags: int) -> int:
    """An opener for files that only this user can read. It opens no symbolic link."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


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
