"""The id of a request, given by the client or made here."""

import itertools
import re
import secrets

from starlette.types import Scope

from authsvc.api.components import REQUEST_ID

_REQUEST_ID = re.compile(REQUEST_ID.pattern.encode())
# New ids are unique without asking the operating system for randomness on every request.
_PROCESS = secrets.token_hex(6).encode()
_count = itertools.count(1)


def request_id(scope: Scope) -> str:
    """The id the client gave if it is fit for logs and headers, a new one otherwise."""
    given = [value for name, value in scope["headers"] if name == b"x-request-id"]
    found: bytes = given[0] if len(given) == 1 and fit_request_id(given[0]) else new_request_id()
    return found.decode()


def fit_request_id(given: bytes) -> bool:
    return _REQUEST_ID.fullmatch(given) is not None


def new_request_id() -> bytes:
    return b"%s%010x" % (_PROCESS, next(_count))
