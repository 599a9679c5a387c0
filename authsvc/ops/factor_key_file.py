"""The factor key of an embedded store, in a file beside its data directory: a copy of the directory holds no key."""

import logging
import os
import secrets
from base64 import b64encode
from pathlib import Path

from authsvc.errors import StartupError
from authsvc.ops.data_dir import private

log = logging.getLogger(__name__)

_KEY_BYTES = 32


def path_beside(data_dir: Path) -> Path:
    """Where the key is kept."""
    directory = data_dir.absolute()
    return directory.with_name(f"{directory.name}.factor-key")


def read_key(data_dir: Path) -> str | None:
    """The text of the file, None if there is none. Raises StartupError for a file that is not ours alone."""
    path = path_beside(data_dir)
    try:
        with open(path, opener=private) as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise StartupError(f"others may know the factor key {path}: it must be a file of ours with mode 0600")
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartupError(f"cannot read the factor key {path}: {error.strerror}") from None


def read_or_make_key(data_dir: Path) -> str | None:
    """The text of the file, which is made if there is none. None if that fails. Raises StartupError."""
    if (held := read_key(data_dir)) is not None:
        return held
    path, text = path_beside(data_dir), b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
    try:
        with open(path, "x", opener=private) as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:  # another start made it meanwhile
        return read_key(data_dir)
    except OSError as error:
        log.warning("no one-time codes: cannot write %s: %s; set AUTHSVC_FACTOR_KEY_FILE", path, error.strerror)
        return None
    return text
