"""The request id of every request, and the header fields of every answer."""

import itertools
import re
import secrets
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authsvc import logs
from authsvc.api.components import REQUEST_ID
from authsvc.api.route import PRIVATE
from authsvc.web.scope import ROUTE

_REQUEST_ID = re.compile(REQUEST_ID.pattern.encode())

# Ids of ours are unique without asking the system for randomness on every request.
_PROCESS = secrets.token_hex(6)
_count = itertools.count(1)


def _raw(policy: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.lower().encode(), value.encode()) for name, value in policy.items())


PRIVATE_FIELDS = _raw(PRIVATE)


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
            route = scope.get(ROUTE)
            policy = PRIVATE if route is None else route.headers
            message["headers"] = [*message["headers"], *headers(scope["request_id"], policy)]
        await send(message)

    return sending


def headers(request_id: str, policy: Mapping[str, str] = PRIVATE) -> Iterable[tuple[bytes, bytes]]:
    """The header fields of every answer: those of the route's policy, and the request id."""
    return (*(PRIVATE_FIELDS if policy is PRIVATE else _raw(policy)), (b"x-request-id", request_id.encode()))


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
