"""Handing out the admin client of the first start: into a file, or on stdout."""

import logging
import os
from pathlib import Path

from authsvc.ops.data_dir import private

log = logging.getLogger(__name__)


def write_admin(path: Path, client_id: str, secret: str) -> bool:
    """Write `client_id:client_secret` into a new file with mode 0600, in place of an older one. False if that fails.

    There is no other copy of the secret, so the caller has to show it otherwise then.
    """
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        with open(fresh, "x", opener=private) as file:
            file.write(f"{client_id}:{secret}\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        log.error("the first admin is not in %s: %s", path, error.strerror)
        return False
    return True
