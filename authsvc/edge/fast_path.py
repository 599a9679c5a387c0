"""The fast path of `/introspect` and `/verify`, which other systems call on every request of theirs.

A scope, a task and messages, and Starlette's request, form and response, cost more than the work itself. The fast path
takes a plain request from uvicorn's parser, asks the store, and writes the bytes of the answer. The general way,
through the ASGI application, answers every other request. It also refuses clients that may not introspect.
"""

import random
import time
from collections.abc import Iterable

import httptools
from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from authsvc.edge.errors import error_response
from authsvc.edge.fast_requests import FAST_CALLS, TRACE_FIELDS, FastCall, FastRequest, Fields, Told
from authsvc.flows.deps import Deps
from authsvc.metrics import Call
from authsvc.store.lookup import Answer, Hear, Question
from authsvc.web.middleware.headers import PRIVATE_FIELDS
from authsvc.web.middleware.request_id import fit_request_id, new_request_id

Headers = list[tuple[bytes, bytes]]

_CLOSE = b"connection: close\r\n"


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
        return given if given is not None and fit_request_id(given) else new_request_id().encode()


class FastPath:
    """Reads plain requests, and answers them when the store has been asked."""

    def __init__(self, deps: Deps, *, traced: bool = False) -> None:
        """traced: whether the service writes traces. Only the general way makes spans."""
        self._deps = deps
        self._calls = {
            path: call._replace(fields=call.fields - TRACE_FIELDS) if traced else call
            for path, call in FAST_CALLS.items()
        }
        # The cells of an answer without error, found once: finding them takes longer than counting.
        requests, durations = deps.metrics.requests, deps.metrics.request_duration
        self._cells = {
            call.method: (requests.cell(*call.call, "200"), durations.cell(*call.call)) for call in FAST_CALLS.values()
        }
        self.share = deps.settings.access_log_share
        # The last headers of every answer, without the request's id. The server's headers hold the date: they change.
        self._server_headers: Headers | None = None
        self._last_headers = b""

    def recognise(self, parser: httptools.HttpRequestParser, url: bytes, headers: Headers) -> FastHead | None:
        """The head, None if it is one for the general way."""
        path, _, query = url.partition(b"?")
        call = self._calls.get(path)
        if call is None or parser.get_method() != call.method or parser.get_http_version() != "1.1":
            return None
        fields = dict(headers)
        if (
            len(fields) != len(headers)  # a field occurs twice
            or not call.fields.issuperset(fields)
            or b"host" not in fields
            or (b"connection" in fields and fields[b"connection"].lower() != b"keep-alive")
            or not call.fits(query, fields)
        ):
            return None
        return FastHead(call, query, fields)

    def read(self, head: FastHead, body: bytes) -> FastRequest | None:
        """The request, None if it is one for the general way."""
        return head.call.read(head.query, head.fields, body)

    def is_sampled(self) -> bool:
        """Whether the access log gets this request. The general way writes it."""
        share = self.share
        return share > 0 and random.random() < share  # noqa: S311 - nothing secret depends on it

    def ask(self, request: FastRequest, hear: Hear) -> Question:
        """Ask the store for what the answer needs."""
        return self._deps.store.lookup.ask(request.client_id, request.handles, hear)

    def answer(
        self,
        head: FastHead,
        request: FastRequest,
        found: Answer | BaseException,
        server_headers: Headers,
        began: float,
        *,
        last: bool,
    ) -> bytes | None:
        """The whole answer. None for a client that has to be refused: the general way does that.

        server_headers: headers of the server itself, such as the date. began: `time.perf_counter()` when the request
        had arrived. last: whether the connection ends with this answer.
        """
        if server_headers is not self._server_headers:
            self._server_headers = server_headers
            self._last_headers = lines((*server_headers, *PRIVATE_FIELDS)) + b"x-request-id: "
        counted, timed = self._cells[head.call.method]
        told: Told | None
        try:
            if isinstance(found, BaseException):
                raise found
            told = request.tell(self._deps, found)
        except Exception as error:
            told, counted = self._failed(head.call.call, error, by_cookie=request.by_cookie)
        if told is None:
            return None
        self._deps.metrics.requests.add_at(counted)
        self._deps.metrics.request_duration.observe_at(timed, time.perf_counter() - began)
        first, body = told
        return b"%s%s%s%s\r\n\r\n%s" % (first, _CLOSE if last else b"", self._last_headers, head.request_id(), body)

    def _failed(self, call: Call, error: Exception, *, by_cookie: bool) -> tuple[Told, int]:
        """The answer to an error, and the cell that counts the answer."""
        response = error_response(self._deps.metrics, error, by_cookie=by_cookie)
        status = response.status_code
        told = STATUS_LINE[status] + lines(response.raw_headers), bytes(response.body)
        return told, self._deps.metrics.requests.cell(*call, str(status))


def lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Header fields as HTTP writes them."""
    return b"".join([b"%s: %s\r\n" % field for field in fields])
