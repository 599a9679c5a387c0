"""What every request and every answer has: a request id, headers that keep answers private."""

import itertools
import re
import secrets
from collections.abc import Iterable
from urllib.parse import quote, unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authsvc import logs

_REQUEST_ID = re.compile(rb"[A-Za-z0-9-]{1,64}")

HEADERS = {
    "Cache-Control": "no-store",  # RFC 6749 section 5.1; with Pragma for HTTP/1.0 caches
    "Pragma": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
# Ids of ours are unique without asking the system for randomness on every request.
_PROCESS = secrets.token_hex(6)
_count = itertools.count(1)
_RAW = tuple((name.lower().encode(), value.encode()) for name, value in HEADERS.items())


class Envelope:
    """The outermost layer, around Starlette's own error handling too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["request_id"] = request_id(scope)
        logs.request_id.set(scope["request_id"])
        raw_path: bytes = scope.get("raw_path") or b""
        if b"%" in raw_path:
            # Servers decode the path before it is split, and a subject `a/sessions` would name the sessions of `a`.
            scope["path"] = canonical(raw_path)
        await self._app(scope, receive, sealed(scope, send))


def sealed(scope: Scope, send: Send) -> Send:
    """A way to send that adds the headers every answer has."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers(scope["request_id"])]
        await send(message)

    return sending


def headers(request_id: str) -> Iterable[tuple[bytes, bytes]]:
    """What every answer says."""
    return (*_RAW, (b"x-request-id", request_id.encode()))


def canonical(raw_path: bytes) -> str:
    """The path with each segment decoded and encoded again the one usual way: `%2F` stays, `%6D` becomes `m`."""
    return "/".join(quote(unquote_to_bytes(part), safe="") for part in raw_path.partition(b"?")[0].split(b"/"))


def request_id(scope: Scope) -> str:
    """The id the caller gave, if it is fit for logs and headers; a new one otherwise."""
    given = [value for name, value in scope["headers"] if name == b"x-request-id"]
    return str(given[0].decode()) if len(given) == 1 and fit_request_id(given[0]) else new_request_id()


def fit_request_id(given: bytes) -> bool:
    return _REQUEST_ID.fullmatch(given) is not None


def new_request_id() -> str:
    return f"{_PROCESS}{next(_count):010x}"
