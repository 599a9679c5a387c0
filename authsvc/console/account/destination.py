"""Where a browser goes after a login: to a page of this origin, or of an origin that the settings allow."""

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

HOME: Final = "/account"
MAX_LENGTH: Final = 2048

# Browsers skip tabs and line ends in a URL, strip spaces, and take a backslash for a slash (WHATWG URL, section 4.4). A
# path with two slashes in front names a host.
_PATH: Final = re.compile(r"/(?!/)[!-\[\]-~]*")
_URL: Final = re.compile(r"(https?://[a-z0-9.\[\]:-]+)(?:[/?#][!-\[\]-~]*)?")


def destination(wanted: str | None, allowed_origins: Collection[str]) -> str:
    """The address to go to: the wanted one, or the account if a browser could be led elsewhere by it.

    wanted: a path, or a whole URL of one of the origins. The origin has to be spelled as in the settings.
    """
    if wanted is None or len(wanted) > MAX_LENGTH:
        return HOME
    if _PATH.fullmatch(wanted):
        return wanted
    match = _URL.fullmatch(wanted)
    return wanted if match is not None and match[1] in allowed_origins else HOME


def is_account(path: str) -> bool:
    """Whether a path is one of the account pages."""
    return path == HOME or urlsplit(path).path.startswith(f"{HOME}/")
