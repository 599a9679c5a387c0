"""The short way for the two calls that are made on every request of somebody else's system: `/introspect`, `/verify`.

A server's scope, task and messages, and Starlette's request, form and response, cost more than the work itself. This
recognises a request of the plainest kind by its very bytes and answers in bytes; whatever is unusual, a client
to be refused among it, goes the general way, as if this were not here.
"""

import random
import time
from asyncio import Future

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from authsvc.edge.plain import CALLS, Plain, lines, read
from authsvc.errors import AuthError
from authsvc.flows.deps import Deps
from authsvc.metrics import reason_of
from authsvc.store.lookup import Answer
from authsvc.web.errors import rendered
from authsvc.web.middleware.headers import headers

Headers = list[tuple[bytes, bytes]]

_CLOSE = b"connection: close\r\n"


class Lean:
    """Answers plain requests: `begin` with the bytes of one, `answer` when the store has been asked."""

    def __init__(self, deps: Deps, *, traced: bool = False) -> None:
        self._deps = deps
        self._traced = traced
        # The cells of an answer that is no error, asked for once: finding them takes longer than counting.
        self._counted = {
            kind: (deps.metrics.requests.cell(*call, "200"), deps.metrics.request_duration.cell(*call))
            for kind, call in CALLS.items()
        }
        self._logged = deps.settings.access_log_share
        # The last headers of every answer, made anew when the server's own change: they hold the date.
        self._servers: Headers | None = None
        self._end = b""

    def begin(self, request: bytes) -> "tuple[Plain, Future[Answer]] | None":
        """Ask the store what a plain request needs; None if it is not plain, or is one to be logged."""
        if self._traced and b"\r\ntraceparent:" in request.lower():  # a span is the general way's business
            return None
        plain = read(request)
        if plain is None or (self._logged and random.random() < self._logged):  # noqa: S311 - nothing depends on it
            return None
        handles = (plain.token.handle,) if plain.token else ()
        return plain, self._deps.store.lookup.ask(plain.client_id, handles)

    def answer(
        self, plain: Plain, found: "Future[Answer]", servers: Headers, began: float, *, last: bool
    ) -> bytes | None:
        """The whole answer; None for a client that is to be refused.

        servers: headers of the server's own, such as the date. began: time.perf_counter() when the request had arrived.
        last: the connection ends with this answer.
        """
        if servers is not self._servers:
            self._servers = servers
            self._end = lines(servers) + lines(headers("%s")) + b"\r\n"
        try:
            told = plain.told(self._deps, found.result())
            counted, timed = self._counted[type(plain)]
        except AuthError as error:  # asking again would double the time that an outage costs
            response = rendered(error, by_cookie=plain.by_cookie)
            counted, timed = self._refused(plain, error, response.status_code)
            told = STATUS_LINE[response.status_code] + lines(response.raw_headers), bytes(response.body)
        if told is None:
            return None
        self._deps.metrics.requests.add_at(counted)
        self._deps.metrics.request_duration.observe_at(timed, time.perf_counter() - began)
        head, body = told
        return b"%s%s%s%s" % (head, _CLOSE if last else b"", self._end % plain.request_id, body)

    def _refused(self, plain: Plain, error: AuthError, status: int) -> tuple[int, int]:
        """Count the reason; the cells of the answer."""
        metrics = self._deps.metrics
        metrics.refusals.add(reason_of(error))
        return metrics.requests.cell(*CALLS[type(plain)], str(status)), self._counted[type(plain)][1]
