"""A request on the fast path, from its head to its answer."""

from typing import Any

import httptools
from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from authsvc.edge.fast_requests import FastCall, FastRequest, Fields
from authsvc.store.memory import Remembered
from authsvc.web.middleware.request_id import fit_request_id, new_request_id

Headers = list[tuple[bytes, bytes]]


class FastHead(Struct, frozen=True):
    """A head that fits the fast path. query: what follows the `?`. fields: by name; no name occurs twice."""

    call: FastCall
    query: bytes
    fields: Fields

    def __repr__(self) -> str:
        return "FastHead()"  # the fields hold secrets

    def request_id(self) -> bytes:
        """The id that the client gave if it is fit for logs and headers, a new one otherwise."""
        given = self.fields.get(b"x-request-id")
        return given if given is not None and fit_request_id(given) else new_request_id()


class _Event:
    """An event that nothing waits for: no application runs."""

    def set(self) -> None:
        pass


class FastCycle(RequestResponseCycle):
    """It stands where uvicorn keeps a RequestResponseCycle, and runs no application.

    scope: an empty scope, which the general way fills if the request goes there after all.

    question: its name in the memory, None until the body is there.

    remembered: the last answer to the question. request: what was asked, parsed if no answer is remembered.

    piece: the bytes of a request that is not parsed, as the same bytes were parsed before. The head is bare then.
    """

    message_event: Any = _Event()
    disconnected = response_started = response_complete = False
    more_body = True
    url = b""
    headers: Headers
    content = b""
    piece = b""
    question: bytes | None = None
    remembered: Remembered | None = None
    request: FastRequest | None = None
    began = 0.0

    def __init__(self, scope: Any, head: FastHead, *, keep_alive: bool) -> None:
        self.scope = scope
        self.head = head
        self.keep_alive = keep_alive

    def forget(self) -> None:
        """Drop everything secret after the answer. The connection keeps its last cycle until the next request."""
        self.url = self.content = self.piece = b""
        self.headers = []
        if self.head.fields:  # that of a recalled request is bare
            self.head = FastHead(self.head.call, b"", {})
        self.request = self.remembered = None

    def parse(self) -> FastRequest | None:
        """Read the request, also of a piece that was not parsed. None if it is one for the general way."""
        if self.piece:
            parsed = _Parsed(self.piece)
            self.url, self.headers, self.content, self.piece = parsed.url, parsed.headers, parsed.body, b""
            self.head = FastHead(self.head.call, self.url.partition(b"?")[2], dict(self.headers))
        head = self.head
        self.request = head.call.read(head.query, head.fields, self.content)
        return self.request


class _Parsed:
    """A whole request as the parser reads it."""

    def __init__(self, piece: bytes) -> None:
        self.url = self.body = b""
        self.headers: Headers = []
        httptools.HttpRequestParser(self).feed_data(piece)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body
