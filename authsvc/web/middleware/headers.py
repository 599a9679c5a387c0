"""The request id of every request, and the header fields of every answer."""

from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authsvc import logs
from authsvc.api.route import PRIVATE
from authsvc.web.middleware.request_id import request_id
from authsvc.web.scope import ROUTE


def _raw(policy: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.lower().encode(), value.encode()) for name, value in policy.items())


PRIVATE_FIELDS = _raw(PRIVATE)


class ResponseHeaders:
    """Middleware around Starlette's own error handling: request id, header fields, and one spelling of the path.

    An escaped path is decoded and encoded again, segment by segment. So a path parameter may still hold escapes such as
    `%2F`, and the route has to decode them.
    """

    def __init__(self, app: ASGIApp, policy: Mapping[str, str] = PRIVATE) -> None:
        """policy: of answers outside of all routes."""
        self._app = app
        self._policy = policy

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
        await self._app(scope, receive, with_headers(scope, send, self._policy))


def with_headers(scope: Scope, send: Send, outside: Mapping[str, str] = PRIVATE) -> Send:
    """Wrap `send` so that it adds the header fields that every answer has. outside: of answers outside of routes."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            route = scope.get(ROUTE)
            policy = outside if route is None else route.headers
            message["headers"] = [*message["headers"], *headers(scope["request_id"], policy)]
        await send(message)

    return sending


def headers(request_id: str, policy: Mapping[str, str] = PRIVATE) -> Iterable[tuple[bytes, bytes]]:
    """The header fields of every answer: those of the route's policy, and the request id."""
    return (*(PRIVATE_FIELDS if policy is PRIVATE else _raw(policy)), (b"x-request-id", request_id.encode()))


def canonical(raw_path: bytes) -> str:
    """The path with each segment decoded and encoded again the one usual way: `%2F` stays, `%6D` becomes `m`."""
    return "/".join(quote(unquote_to_bytes(part), safe="") for part in raw_path.partition(b"?")[0].split(b"/"))
