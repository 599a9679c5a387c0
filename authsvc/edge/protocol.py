"""uvicorn's HTTP protocol with bounds: on the size of a request and on the time to send it; one write an answer.

uvicorn reads heads of any size, for as long as they take, and says what it refuses in plain text. Times are bounded
without a timer for each request: what a connection waits for is looked at about once a second, from outside.
"""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from authsvc.api.statuses import STATUSES
from authsvc.edge import limits
from authsvc.edge.limits import Load
from authsvc.errors import AuthError, Busy, HeadTooLarge, InvalidRequest, TooLarge
from authsvc.web.errors import busy, problem
from authsvc.web.middleware.headers import headers, request_id
from authsvc.web.scope import END

# What a stream that was told to end gets for it; its reader may not be reading.
_END_WITHIN_S = 0.5


class Corked:
    """A transport whose writes of one turn of the event loop go out together, in order."""

    def __init__(self, transport: asyncio.Transport, protocol: "BoundedProtocol") -> None:
        self._transport = transport
        self._protocol = protocol
        self._held: list[bytes] = []
        self._lingering = False

    def write(self, data: bytes) -> None:
        if not self._held:
            self._protocol.loop.call_soon(self._flush)
        self._held.append(data)

    def is_closing(self) -> bool:
        return self._lingering or self._transport.is_closing()

    def close(self) -> None:
        """End the connection; in two steps if the client is still sending.

        Bytes that arrive where nobody reads are answered by a reset, which takes from the client the answer that it
        has not read yet.
        """
        self._flush()
        if self._protocol.is_sending() and not self.is_closing():
            self._lingering = self._protocol.deaf = True
            self._transport.write_eof()
            self._protocol.flow.resume_reading()
        else:
            self._transport.close()

    def end(self) -> None:
        """Close in one step."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            self._transport.write(b"".join(self._held))
            self._held.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._load: Load = self.app_state.get("load") or Load()
        self._service = self.app
        # The bytes that arrived last, and those of a request of which more than one piece arrived.
        self._piece = 0
        self._size = 0
        self._measured: object = None
        self._is_arriving = False
        # Once a request was refused nothing more is heard. What is said about it may have to wait for earlier answers.
        self.deaf = False
        self._last_words: AuthError | None = None
        # What the connection was waiting for when it was looked at, and since when.
        self._awaited: object = None
        self._unsent = 0
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Corked(transport, self))  # type: ignore[arg-type]  # it is one, in all that is used
        excess = len(self.connections) - self._load.max_connections
        if excess > 0:
            self._load.turn_away("connection")
            if excess <= limits.MAX_TURNED_AWAY:
                self._refuse(Busy())
            else:
                transport.abort()

    def data_received(self, data: bytes) -> None:
        self._piece = len(data)
        if self.deaf:
            self._discard()
            return
        before = self.cycle
        amid = before is not None and before.more_body
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            # It wraps what was raised in the methods that it calls.
            reason = error.__context__
            self._refuse(reason if isinstance(reason, AuthError) else InvalidRequest("this is not proper HTTP/1.1"))
            return
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope or cycle.more_body:
            self._measure(alone=cycle is before and not amid)

    # What the parser calls

    def on_headers_complete(self) -> None:
        self._check_head()
        load = self._load
        if len(self.tasks) - load.streams - load.arriving < load.max_requests:
            self.app = self._service
        else:
            load.turn_away("request")
            load.refuse(Busy(), 503)
            self.app = busy
        super().on_headers_complete()
        # Fields of a trailer don't become the request's: they passed no proxy that would have removed them.
        self.headers = []
        if load.draining:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        # Also after an early answer, where uvicorn leaves it: this is how one knows that no more will come.
        self.cycle.more_body = False
        self.cycle.message_event.set()
        if self._is_arriving:
            self._arrived()

    def on_response_complete(self) -> None:
        """uvicorn's, without its timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last_words is not None:
            self._say(self._last_words)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._is_arriving:
            self._arrived()

    # What the server calls

    def look(self, now: float) -> None:
        """End the connection if what it waits for is overdue."""
        unsent = self.transport.get_write_buffer_size()
        awaited, allowed = (self.flow, limits.STALL_S) if unsent else self._waits_for()
        if awaited is not self._awaited or unsent != self._unsent:
            self._awaited, self._unsent, self._since = awaited, unsent, now - limits.SWEEP_S
        elif awaited is not None and now - self._since > allowed:
            self._give_up()

    def shutdown(self) -> None:
        """Answer what has begun, with `Connection: close`, and what crosses with our going; then close."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(limits.DRAIN_S, self._close_if_idle)
            return
        self.cycle.keep_alive = False
        if (end := self.cycle.scope.get(END)) is not None:  # an answer that would never end by itself
            end()  # type: ignore[operator]  # a scope holds anything
            self.loop.call_later(_END_WITHIN_S, self.transport.abort)

    def is_sending(self) -> bool:
        """Whether the client may be sending a request that we no longer want."""
        return self.deaf or (self.cycle is not None and self.cycle.more_body)

    # Bounds of size

    def _check_head(self) -> None:
        """Raise InvalidRequest or HeadTooLarge; what the parser itself refuses does not get here."""
        fields = self.headers
        if len(fields) > limits.MAX_FIELDS:
            raise HeadTooLarge(f"there are more than {limits.MAX_FIELDS} header fields")
        if (self._piece > limits.MAX_HEAD or self._measured is self.scope) and self._head_size() > limits.MAX_HEAD:
            raise HeadTooLarge(f"request line and header fields are over {limits.MAX_HEAD} bytes")
        if self.parser.should_upgrade():  # the parser would skip the body
            raise InvalidRequest("there is no CONNECT here, and no Upgrade: this is HTTP/1.1")
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise InvalidRequest("this is neither HTTP/1.1 nor HTTP/1.0")
        if not self.url.startswith(b"/") or b"#" in self.url:
            raise InvalidRequest("the request target has to be a path")
        if len(self.pipeline) >= limits.MAX_PIPELINED:
            raise InvalidRequest("too many requests are waiting on this connection")
        names = [name for name, _ in fields]
        hosts = names.count(b"host")
        if hosts != 1 and (hosts or version == "1.1"):  # RFC 9112 section 3.2
            raise InvalidRequest("there has to be one Host header")
        # The parser looks at the last one only.
        encodings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
        if encodings and (version == "1.0" or encodings != [b"chunked"]):
            raise InvalidRequest("the only transfer encoding is chunked, in HTTP/1.1")

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _measure(self, *, alone: bool) -> None:
        """Count what has arrived of an unfinished request; `alone`: the last piece holds nothing of those before it."""
        cycle = self.cycle
        in_head = cycle is None or cycle.scope is not self.scope
        if not in_head and not self._is_arriving:
            self._is_arriving = True
            self._load.arriving += 1
        if self._measured is not self.scope:
            self._measured, self._size = self.scope, 0
            if in_head and not alone:  # it can't be told how much of it; the next piece will count
                return
        self._size += self._piece
        if in_head and self._size > limits.MAX_HEAD:
            self._refuse(HeadTooLarge(f"request line and header fields are over {limits.MAX_HEAD} bytes"))
        elif self._size > limits.MAX_REQUEST:
            self._refuse(TooLarge(f"the request is over {limits.MAX_REQUEST} bytes"))

    def _arrived(self) -> None:
        self._is_arriving = False
        self._load.arriving -= 1

    def _discard(self) -> None:
        self._size += self._piece
        if self._size > limits.MAX_REQUEST + limits.MAX_DISCARDED:
            self.transport.abort()

    # Bounds of time

    def _waits_for(self) -> tuple[object, float]:
        """What the client has yet to finish, and how long that may take. None if it is the client who waits for us."""
        cycle = self.cycle
        if self.transport.is_closing():
            return self.transport, limits.LINGER_S
        if cycle is None or cycle.scope is not self.scope:
            return self.scope or self, limits.HEAD_S
        if cycle.more_body:
            return self.scope, limits.REQUEST_S
        return (cycle, limits.KEEP_ALIVE_S) if cycle.response_complete else (None, 0)

    def _give_up(self) -> None:
        cycle = self.cycle
        begun = self.scope is not None and (cycle is None or cycle.scope is not self.scope or cycle.more_body)
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()
        elif begun:
            self._refuse(InvalidRequest("the request did not arrive in time"))
            self.transport.end()  # type: ignore[attr-defined]  # it is Corked
        else:
            self.transport.close()

    def _close_if_idle(self) -> None:
        cycle = self.cycle
        if self.scope is None or (  # nothing has come yet
            cycle is not None and cycle.scope is self.scope and cycle.response_complete and not cycle.more_body
        ):
            self.transport.close()

    # Refusing

    def _refuse(self, error: AuthError) -> None:
        """Answer what came before, say what was wrong with the last request, close."""
        self.deaf = True
        self._size = 0
        cycle = self.cycle
        answering = bool(self.pipeline)
        if cycle is not None and cycle.scope is self.scope and cycle.more_body:  # it was its body
            if self.pipeline:
                self.pipeline.popleft()
            else:
                cycle.disconnected = True
                cycle.message_event.set()
                if cycle.response_started:  # there is no way to take it back
                    self.transport.close()
                    return
        elif cycle is not None:
            answering = answering or not cycle.response_complete
        if answering:
            self._last_words = error
        else:
            self._say(error)
            self.transport.close()

    def _say(self, error: AuthError) -> None:
        status, code = STATUSES[type(error)]
        self._load.refuse(error, status)
        response = problem(status, code, str(error))
        fields = [
            *self.server_state.default_headers,
            *response.raw_headers,
            *headers(request_id({"headers": ()})),
            (b"connection", b"close"),
        ]
        head = b"".join(b"%s: %s\r\n" % field for field in fields)
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + bytes(response.body))
