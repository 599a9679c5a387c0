"""The certificates that httpx trusts, read once for all clients of a test run.

httpx reads the certificates of all authorities for each client that it makes, which takes 30 ms. A client that is told
which certificates to trust (`verify`) is left alone.
"""

import ssl
from functools import cache
from typing import Any

import httpx


@cache
def _default() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    return _default() if verify is True and cert is None else httpx.create_ssl_context(verify, cert, trust_env)


def read_once() -> None:
    """Patch httpx, which has no public place for this."""
    httpx._transports.default.create_ssl_context = _context  # type: ignore[attr-defined]  # a private part
