"""The fast path of `/introspect` and `/verify`, which other systems call on every request of theirs.

A scope, a task and messages, and Starlette's request, form and response, cost more than the work itself. The fast path
takes a plain request from uvicorn's parser, asks the store, and writes the bytes of the answer. The general way,
through the ASGI application, answers every other request. It also refuses clients that may not introspect.
"""

import random
import time
from collections.abc import Iterable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from authsvc.edge.errors import error_response
from authsvc.edge.fast_cycle import FastCycle, FastHead, Headers
from authsvc.edge.fast_requests import TRACE_FIELDS, Told, fast_calls
from authsvc.edge.head import is_host
from authsvc.flows.deps import Deps
from authsvc.flows.recall import recalled
from authsvc.metrics import Call
from authsvc.store.lookup import Hear, Question
from authsvc.store.memory import question_of
from authsvc.store.moment import Moment
from authsvc.web.middleware.headers import PRIVATE_FIELDS

# A client that sends these fields only sends the same bytes each time that it asks about a token.
_STEADY = frozenset(
    b"host user-agent accept accept-encoding connection authorization content-type content-length".split()
)
_CLOSE = b"connection: close\r\n"


class FastPath:
    """Reads plain requests, and answers them when the store has been asked."""

    def __init__(self, deps: Deps, *, traced: bool = False) -> None:
        """traced: whether the service writes traces. Only the general way makes spans."""
        self._deps = deps
        self._memory = deps.memory
        calls = fast_calls(deps.settings.foreign_key_prefixes)
        self._calls = {
            path: call._replace(fields=call.fields - TRACE_FIELDS) if traced else call for path, call in calls.items()
        }
        # The cells of an answer without error, found once: finding them takes longer than counting.
        requests, durations = deps.metrics.requests, deps.metrics.request_duration
        self._cells = {
            call.method: (requests.cell(*call.call, "200"), durations.cell(*call.call)) for call in calls.values()
        }
        # The bare heads of recalled requests, by the first four bytes of the request.
        self._bare = {call.method.ljust(4)[:4]: FastHead(call, b"", {}) for call in self._calls.values()}
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
            or (host := fields.get(b"host")) is None
            or not is_host(host)
            or (b"connection" in fields and fields[b"connection"].lower() != b"keep-alive")
            or not call.fits(query, fields)
        ):
            return None
        return FastHead(call, query, fields)

    def read(self, cycle: FastCycle, piece: bytes) -> bool:
        """Read the question. False if it is one for the general way. piece: what arrived with the end of the body."""
        head, body = cycle.head, cycle.content
        if not is_whole(piece, head, body):
            cycle.question = question_of(head.call.presented(head.query, head.fields, body))
        else:
            cycle.question = question_of(piece)
        cycle.remembered = self._memory.find(cycle.question)
        return cycle.remembered is not None or cycle.parse() is not None

    def recall(self, scope: Any, piece: bytes, *, keep_alive: bool) -> FastCycle | None:
        """A request of the same bytes as one before, if its answer is remembered."""
        head = self._bare.get(piece[:4])
        if head is None:  # such a piece may have the bytes of another kind of question: see `question_of`
            return None
        question = question_of(piece)
        remembered = self._memory.find(question)
        if remembered is None:
            return None
        cycle = FastCycle(scope, head, keep_alive=keep_alive)
        cycle.question, cycle.remembered, cycle.piece = question, remembered, piece
        cycle.more_body = False
        return cycle

    def is_sampled(self) -> bool:
        """Whether the access log gets this request. The general way writes it."""
        share = self.share
        return share > 0 and random.random() < share  # noqa: S311 - nothing secret depends on it

    def ask(self, cycle: FastCycle, hear: Hear) -> Question:
        """Ask the store for what the answer needs."""
        lookup, request = self._deps.store.lookup, cycle.request
        if cycle.remembered is not None:
            return lookup.ask((), cycle.remembered.wanted, hear)
        assert request is not None  # for mypy
        return lookup.ask(() if request.token is None else (request.token.handle,), request.wanted, hear)

    def answer(self, cycle: FastCycle, found: Moment | Exception, server_headers: Headers) -> bytes | None:
        """The whole response. None for a client that has to be refused: the general way does that.

        server_headers: headers of the server itself, such as the date.
        """
        if server_headers is not self._server_headers:
            self._server_headers = server_headers
            self._last_headers = lines((*server_headers, *PRIVATE_FIELDS)) + b"x-request-id: "
        call = cycle.head.call
        counted, timed = self._cells[call.method]
        try:
            if isinstance(found, Exception):
                raise found
            answer = self._decide(cycle, found)
            if answer is None:
                return None
            first, body = call.told(answer)
        except Exception as error:
            by_cookie = cycle.request is not None and cycle.request.by_cookie
            (first, body), counted = self._failed(call.call, error, by_cookie=by_cookie)
        metrics = self._deps.metrics
        metrics.requests.add_at(counted)
        metrics.request_duration.observe_at(timed, time.perf_counter() - cycle.began)
        close = b"" if cycle.keep_alive else _CLOSE
        return b"%s%s%s%s\r\n\r\n%s" % (first, close, self._last_headers, cycle.head.request_id(), body)

    def _decide(self, cycle: FastCycle, moment: Moment) -> bytes | None:
        """The answer from the records of this moment: the remembered one if it fits, or a new one."""
        now = self._deps.clock()
        answer = recalled(self._deps, cycle.remembered, moment, now)
        if answer is not None:
            return answer
        request = cycle.request or cycle.parse()
        assert request is not None  # for mypy: what is remembered was read before
        assert cycle.question is not None
        return request.answer(self._deps, moment, cycle.question, now)

    def _failed(self, call: Call, error: Exception, *, by_cookie: bool) -> tuple[Told, int]:
        """The answer to an error, and the cell that counts the answer."""
        response = error_response(self._deps.metrics, error, by_cookie=by_cookie)
        status = response.status_code
        told = STATUS_LINE[status] + lines(response.raw_headers), bytes(response.body)
        return told, self._deps.metrics.requests.cell(*call, str(status))


def is_whole(piece: bytes, head: FastHead, body: bytes) -> bool:
    """Whether the piece is this request and nothing else, and the client is likely to send the same bytes again."""
    return (
        piece.startswith(head.call.method)  # empty lines may come before a request
        and _STEADY.issuperset(head.fields)
        and len(piece) == piece.find(b"\r\n\r\n") + 4 + len(body)
    )


def lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Header fields as HTTP writes them."""
    return b"".join([b"%s: %s\r\n" % field for field in fields])
