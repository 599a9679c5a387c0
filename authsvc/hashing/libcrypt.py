"""SHA-512-crypt with `crypt_r` of the C library.

Python 3.13 has no module `crypt` any more. The function is in libxcrypt, which every Linux distribution maintains, and
in musl. It lets other threads run meanwhile, which an implementation in Python would not.
"""

import ctypes
import ctypes.util
from functools import cache
from typing import Any, Final

# The largest `struct crypt_data` that there is has 131,232 bytes. It has to be zero at first.
_DATA_SIZE: Final = 256 * 1024


class NoCrypt(Exception):
    """The C library of this machine has no `crypt_r`."""


def crypt(password: bytes, setting: str) -> bytes:
    """The hash of a password without NUL, with the salt and the rounds of another hash. Raises NoCrypt."""
    data = ctypes.create_string_buffer(_DATA_SIZE)
    return _crypt_r()(password, setting.encode(), data) or b""


@cache
def _crypt_r() -> Any:
    for name in ("libcrypt.so.1", "libcrypt.so.2", ctypes.util.find_library("crypt"), None):
        try:
            function = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):
            continue
        function.argtypes, function.restype = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p], ctypes.c_char_p
        return function
    raise NoCrypt("the C library of this machine has no crypt_r")
