"""uvicorn's HTTP protocol with limits on the size of a request and on the time to send it.

uvicorn reads heads of any size, waits for them without end, and answers what it refuses in plain text. The server calls
`check_time` about once a second, so no request needs a timer of its own.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast
from weakref import ref

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from authsvc.edge import limits
from authsvc.edge.errors import error_response
from authsvc.edge.head import check_head, check_size
from authsvc.edge.limits import Load
from authsvc.edge.transport import CorkedTransport
from authsvc.edge.upgrade import SetAside, feed, head_without_upgrade, new_parser
from authsvc.errors import AuthError, Busy, HeadTooLarge, InvalidRequest, TooLarge
from authsvc.metrics.families import OTHER
from authsvc.web.errors import busy
from authsvc.web.middleware.headers import headers
from authsvc.web.middleware.request_id import request_id
from authsvc.web.scope import END

# How long a stream that was told to end may take; its reader may have stopped reading.
_END_WITHIN_S = 0.5
# Errors that uvicorn's parser callbacks raise for a malformed target.
_MALFORMED = (httptools.HttpParserError, UnicodeDecodeError)


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._load: Load = self.app_state.get("load") or Load()
        self._service = self.app
        # The size of the last piece that arrived, and of a request of which more than one piece arrived.
        self._piece = 0
        self._size = 0
        self._measured: object = None
        self._is_arriving = False
        # The last request that was given to the application. Later ones may wait on the connection.
        self._begun: Callable[[], Any] = lambda: None
        # The cycle before a request with Upgrade, and whether the head of such a request is being read again.
        self._set_aside: Any = None
        self._upgrade_ignored = False
        # After a refused request the rest is discarded. Its error may have to wait for earlier answers.
        self.discarding = False
        self._pending_error: Exception | None = None
        # The part that the connection waited for at the last check, and since when.
        self._awaited: object = None
        self._unsent = 0
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, CorkedTransport(transport, self)))
        excess = len(self.connections) - self._load.max_connections
        if excess > 0:
            self._load.count_rejected("connection")
            if excess <= limits.MAX_TURNED_AWAY:
                self._refuse(Busy())
            else:
                transport.abort()
        elif self._load.draining:  # it was accepted just before the server stopped listening
            self.shutdown()

    def data_received(self, data: bytes) -> None:
        try:
            self._piece = len(data)
            if self.discarding:
                self._discard()
                return
            before = self.cycle
            amid = before is not None and before.more_body
            head_ends = feed(self.parser, data)
            while head_ends is not None:
                data = data[head_ends:]
                self._ignore_upgrade()
                head_ends = feed(self.parser, data)
            cycle = self.cycle
            if cycle is None or cycle.scope is not self.scope or cycle.more_body:
                self._measure(alone=cycle is before and not amid)
        except httptools.HttpParserError as error:
            self._refuse(_reason(error))
        except Exception as error:  # a fault of ours: asyncio would close the connection without an answer
            self._refuse(error)

    def _ignore_upgrade(self) -> None:
        """Read the head again, without the wish for another protocol."""
        self.cycle, self._set_aside = self._set_aside, None
        head = head_without_upgrade(self.parser, self.url, self.headers)
        self.parser, self._upgrade_ignored = new_parser(self), True
        self.parser.feed_data(head)
        self._upgrade_ignored = False

    # Called by the parser

    def on_headers_complete(self) -> None:
        self._check_size()
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT" and not self._upgrade_ignored:
            self._set_aside, self.cycle = self.cycle, cast(Any, SetAside())
            return
        check_head(self.parser, self.url, self.headers)
        if len(self.pipeline) >= limits.MAX_PIPELINED:
            raise InvalidRequest("too many requests are waiting on this connection")
        if self._has_room():
            self.app = self._service
        else:
            self._load.count_rejected("request")
            self._load.count_refused(Busy(), 503)
            self.app = busy
        self._begin_asgi()

    def on_message_complete(self) -> None:
        # Also after an early answer, where uvicorn leaves `more_body` as it is: nothing more will come.
        self.cycle.more_body = False
        self.cycle.message_event.set()
        if self._is_arriving:
            self._arrived()

    def _check_size(self) -> None:
        """Raise HeadTooLarge. A head that came in one small piece need not be added up."""
        if self._piece > limits.MAX_HEAD or self._measured is self.scope:
            check_size(self.url, self.headers)

    def _has_room(self) -> bool:
        """Whether the worker admits one more request."""
        return self._load.in_progress(len(self.tasks)) < self._load.max_requests

    def _begin_asgi(self) -> None:
        """Give the request whose head was read to `self.app`, at once or after those before it."""
        super().on_headers_complete()
        # Ignore trailers: proxies strip X-Auth-* and X-Forwarded-For from headers, not from trailers.
        self.headers = []
        if self._load.draining:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """Begin the next request. uvicorn's method would also set a timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._run(*self.pipeline.pop())
        elif self._pending_error is not None:
            self._send_error(self._pending_error)
            self.transport.close()

    def _run(self, cycle: Any, app: Any) -> None:
        """Begin a request that waited for its turn."""
        self._start_asgi_task(cycle, app)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._begun = ref(cycle)  # weak: nothing of a request stays after its answer
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._is_arriving:
            self._arrived()

    # Called by the server

    def check_time(self, now: float) -> None:
        """End the connection if it has waited too long for its client."""
        unsent = self.transport.get_write_buffer_size()
        awaited, allowed = (self.flow, limits.STALL_S) if unsent else self._waits_for()
        if awaited is not self._awaited or unsent != self._unsent:
            self._awaited, self._unsent, self._since = awaited, unsent, now - limits.SWEEP_S
        elif awaited is not None and now - self._since > allowed:
            self._give_up()

    def shutdown(self) -> None:
        """Answer the request in progress with `Connection: close`, then close.

        An idle connection stays open for a moment, for a request that crosses with the stop.
        """
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(limits.DRAIN_S, self._close_if_idle)
            return
        self.cycle.keep_alive = False
        begun = self._begun()  # not `self.cycle` if that one waits for its turn
        if begun is not None and not begun.response_complete and (end := begun.scope.get(END)) is not None:
            end()  # a stream, which would never end by itself
            self.loop.call_later(_END_WITHIN_S, self._cut_off, begun)

    def _cut_off(self, stream: Any) -> None:
        """End the connection of a stream whose reader has not taken the end."""
        if not stream.response_complete or self.transport.get_write_buffer_size():
            self.transport.abort()

    def is_sending(self) -> bool:
        """Whether the client may still be sending a request that will not be read."""
        return self.discarding or (self.cycle is not None and self.cycle.more_body)

    # Limits of size

    def _measure(self, *, alone: bool) -> None:
        """Count the bytes of an unfinished request. alone: the last piece holds bytes of this request only."""
        cycle = self.cycle
        in_head = cycle is None or cycle.scope is not self.scope
        if not in_head and not self._is_arriving and self._has_task(cycle):
            self._is_arriving = True
            self._load.arriving += 1
        if self._measured is not self.scope:
            self._measured, self._size = self.scope, 0
            if in_head and not alone:  # nobody knows how many of the bytes; the next piece will count
                return
        self._size += self._piece
        if in_head and self._size > limits.MAX_HEAD:
            self._refuse(HeadTooLarge(f"request line and header fields are over {limits.MAX_HEAD} bytes"))
        elif self._size > limits.MAX_REQUEST:
            self._refuse(TooLarge(f"the request is over {limits.MAX_REQUEST} bytes"))

    def _has_task(self, cycle: Any) -> bool:
        """Whether the last request has begun, so that `tasks` counts it."""
        return not self.pipeline

    def _arrived(self) -> None:
        self._is_arriving = False
        self._load.arriving -= 1

    def _discard(self) -> None:
        self._size += self._piece
        if self._size > limits.MAX_REQUEST + limits.MAX_DISCARDED:
            self.transport.abort()

    # Limits of time

    def _waits_for(self) -> tuple[object, float]:
        """The part that the client has yet to finish, and its time limit. None if the client waits for the service."""
        cycle = self.cycle
        if self.transport.is_closing():
            return self.transport, limits.LINGER_S
        if cycle is None or cycle.scope is not self.scope:
            return self if self.scope is None else self.scope, limits.HEAD_S
        if cycle.more_body:
            return self.scope, limits.REQUEST_S
        return (cycle, self._load.keep_alive_s) if cycle.response_complete else (None, 0)

    def _give_up(self) -> None:
        cycle = self.cycle
        begun = self.scope is not None and (cycle is None or cycle.scope is not self.scope or cycle.more_body)
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()
        elif begun:
            self._refuse(InvalidRequest("the request did not arrive in time"))
            cast(CorkedTransport, self.transport).end()
        else:
            self.transport.close()

    def _close_if_idle(self) -> None:
        cycle = self.cycle
        if self.scope is None or (  # nothing has come yet
            cycle is not None and cycle.scope is self.scope and cycle.response_complete and not cycle.more_body
        ):
            self.transport.close()

    # Refusing

    def _refuse(self, error: Exception) -> None:
        """Answer the requests before, then this error, then close."""
        self.discarding = True
        self._size = 0
        cycle = self.cycle
        answering = bool(self.pipeline)
        broken = cycle is not None and not cycle.response_complete and not isinstance(error, AuthError)
        # The error is in the body of the last request, or a fault of ours has left that request without an answer.
        if cycle is not None and cycle.scope is self.scope and (cycle.more_body or broken):
            if self.pipeline:
                self.pipeline.popleft()
            else:
                cycle.disconnected = True
                cycle.message_event.set()
                if cycle.response_started:  # too late for another answer
                    self.transport.close()
                    return
        elif cycle is not None:
            answering = answering or not cycle.response_complete
        if answering:
            self._pending_error = error
        else:
            self._send_error(error)
            self.transport.close()

    def _send_error(self, error: Exception) -> None:
        metrics = self._load.metrics
        response = error_response(metrics, error)
        metrics.requests.add(OTHER, OTHER, str(response.status_code))
        del response.headers["connection"]  # some errors have the field already
        fields = [
            *self.server_state.default_headers,
            *response.raw_headers,
            *headers(request_id({"headers": ()})),
            (b"connection", b"close"),
        ]
        head = b"".join(b"%s: %s\r\n" % field for field in fields)
        self.transport.write(STATUS_LINE[response.status_code] + head + b"\r\n" + bytes(response.body))


def _reason(error: httptools.HttpParserError) -> Exception:
    """The error to answer: the parser wraps an error that was raised in a method it called."""
    reason = error.__context__
    if reason is None or isinstance(reason, _MALFORMED):
        return InvalidRequest("this is not proper HTTP/1.1")
    return cast(Exception, reason)
