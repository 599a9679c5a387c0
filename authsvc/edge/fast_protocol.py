"""uvicorn's protocol with the fast path: which requests take it, and in which order their answers leave."""

import time
from functools import partial
from typing import Any

from authsvc.edge import limits
from authsvc.edge.fast_cycle import FastCycle
from authsvc.edge.fast_path import FastPath
from authsvc.edge.protocol import BoundedProtocol
from authsvc.store.lookup import Question
from authsvc.store.moment import Moment
from authsvc.web.scope import SAMPLED, SPENT


class _ReadHead:
    """Stands in for the parser when uvicorn asks it about a head that was read before."""

    def __init__(self, method: bytes) -> None:
        self._method = method

    def get_method(self) -> bytes:
        return self._method

    def get_http_version(self) -> str:
        return "1.1"

    def should_upgrade(self) -> bool:
        return False

    def should_keep_alive(self) -> bool:
        return True


class FastProtocol(BoundedProtocol):
    """One connection, whose plain requests are answered without a scope, a task or messages."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._fast_path: FastPath = self.app_state["fast_path"]
        # The question to the store for the current request.
        self._question: Question | None = None
        # None unless the last request was answered on the fast path and nothing has come since: then the parser stands
        # between two requests. Whether that answer was a remembered one.
        self._recalled: bool | None = None
        # The piece that came when the parser stood there.
        self._whole = b""

    def data_received(self, data: bytes) -> None:
        recalled, self._recalled = self._recalled, None
        try:
            # Otherwise the client asks about new tokens, and an attempt would be in vain.
            cycle = self._recall(data) if recalled else None
            if cycle is None:
                self._whole = data if recalled is not None or self.scope is None else b""
                super().data_received(data)
            else:
                self.scope, self.cycle = cycle.scope, cycle
                self._ask(cycle)
        except Exception as error:  # a fault of ours
            self._refuse(error)

    def _recall(self, data: bytes) -> FastCycle | None:
        """The request in a piece that begins between two requests, if the same bytes were read before."""
        if self._fast_path.share or not self._has_room():
            return None
        return self._fast_path.recall({}, data, keep_alive=not self._load.draining)

    # Called by the parser

    def on_message_begin(self) -> None:
        # The scope is empty until the request goes the general way: most do not. It also identifies the request.
        self.url = b""
        self.headers = []
        self.scope = {}  # type: ignore[typeddict-item]  # see above

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._check_size()
        head = None
        if self._has_room() and len(self.pipeline) < limits.MAX_PIPELINED:
            head = self._fast_path.recognise(self.parser, self.url, self.headers)
        if head is None:  # the general way answers, also with an error if there is no room
            super().on_headers_complete()
            return
        previous = self.cycle
        cycle = FastCycle(self.scope, head, keep_alive=not self._load.draining)
        cycle.url, cycle.headers = self.url, self.headers
        self.cycle = cycle
        if previous is not None and not previous.response_complete:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self._service))

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if type(cycle) is FastCycle:
            cycle.content += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        cycle = self.cycle
        if type(cycle) is not FastCycle:
            super().on_message_complete()
            return
        fast_path = self._fast_path
        is_fit = fast_path.read(cycle, self._whole)
        cycle.more_body = False
        if not is_fit:
            self._hand_over(cycle)
        elif fast_path.share and fast_path.is_sampled():
            self._hand_over(cycle, sampled=True)
        elif not self.pipeline:  # or it begins after those before it
            self._ask(cycle)

    def _has_task(self, cycle: Any) -> bool:
        return not isinstance(cycle, FastCycle) and super()._has_task(cycle)

    # From the store's answer to the client's

    def _run(self, cycle: Any, app: Any) -> None:
        if not isinstance(cycle, FastCycle):
            super()._run(cycle, app)
        elif cycle.question is not None:  # or it begins when its body is there
            self._ask(cycle)

    def _ask(self, cycle: FastCycle) -> None:
        cycle.began = time.perf_counter()
        self._load.on_fast_path += 1
        try:
            self._question = self._fast_path.ask(cycle, partial(self._answer, cycle))
        except Exception as error:
            self._answer(cycle, error)

    def _answer(self, cycle: FastCycle, found: Moment | Exception) -> None:
        if cycle.response_started or cycle.disconnected:  # a fault has been answered in between
            return
        self._load.on_fast_path -= 1
        self._question = None
        try:
            self._write_answer(cycle, found)
        except Exception as error:  # a fault of ours: nobody else would answer
            self._refuse(error)

    def _write_answer(self, cycle: FastCycle, found: Moment | Exception) -> None:
        answer = self._fast_path.answer(cycle, found, self.server_state.default_headers)
        if answer is None:
            cycle.scope[SPENT] = time.perf_counter() - cycle.began  # type: ignore[literal-required]  # as below
            self._hand_over(cycle, sampled=False)
            return
        cycle.response_started = cycle.response_complete = True
        self.transport.write(answer)
        if not cycle.keep_alive:
            self.transport.close()
        if cycle.scope is self.scope and not self.pipeline:
            self._recalled = cycle.remembered is not None
            self.url, self.headers, self._whole = b"", [], b""
        cycle.forget()
        self.on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._question is not None:
            self._load.on_fast_path -= 1
            self._question.cancel()
            self._question = None
        super().connection_lost(exc)

    # The general way

    def _begin_asgi(self) -> None:
        # Let uvicorn make its scope from the head, and put it into the scope that identifies the request.
        scope, url, headers = self.scope, self.url, self.headers
        super().on_message_begin()
        for field in headers:
            super().on_header(*field)
        scope.update(self.scope)
        self.scope, self.url = scope, url
        super()._begin_asgi()

    def _hand_over(self, cycle: FastCycle, *, sampled: bool | None = None) -> None:
        """Let the application answer a request after all, with its body.

        The parser may have read the heads of later requests meanwhile: what belongs to them is put back.
        sampled: whether the access log gets the request, if that is decided.
        """
        waits = bool(self.pipeline) and self.pipeline[0][0] is cycle
        if waits:
            self.pipeline.popleft()
        if sampled is not None:
            cycle.scope[SAMPLED] = sampled  # type: ignore[literal-required]  # a scope holds anything
        kept = self.parser, self.scope, self.url, self.headers, self.cycle
        self.parser = _ReadHead(cycle.head.call.method)  # type: ignore[assignment]  # it has all that uvicorn asks for
        self.scope, self.url, self.headers = cycle.scope, cycle.url, cycle.headers
        self.cycle = cycle if waits else None  # type: ignore[assignment]  # uvicorn's own first value
        self.app = self._service
        self._begin_asgi()
        general = self.cycle
        general.body += cycle.content
        general.more_body = False
        general.message_event.set()
        general.keep_alive = cycle.keep_alive
        self.parser, self.scope, self.url, self.headers, self.cycle = kept
        if self.cycle is cycle:
            self.cycle = general
