"""The protocol's side of the short way: which bytes are offered to it, and in which order answers leave."""

import time
from asyncio import Future
from functools import partial
from typing import Any

from authsvc.edge import limits
from authsvc.edge.lean import Lean
from authsvc.edge.plain import MAX_BYTES, Plain, without_body
from authsvc.edge.protocol import BoundedProtocol
from authsvc.store.lookup import Answer


class LeanProtocol(BoundedProtocol):
    """One connection, whose plain requests are answered without a scope, a task or messages of their own.

    Only between two requests is anything offered to the short way: the bytes that follow a refused head, or that a
    proxy takes for a body, are never a request of their own.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lean: Lean = self.app_state["lean"]
        # A plain request under way, and the last one that is done.
        self._asked: Future[Answer] | None = None
        self._told: Future[Answer] | None = None
        # What has arrived and has to wait: for an answer that goes first, or for its body.
        self._held = b""

    def data_received(self, data: bytes) -> None:
        if self._asked is not None:
            self._held += data
            if len(self._held) > MAX_BYTES:
                self.flow.pause_reading()
        elif self._between_requests():
            self._begin(self._held + data)
        else:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._asked is not None:
            self._asked.cancel()
        super().connection_lost(exc)

    def _between_requests(self) -> bool:
        cycle = self.cycle
        idle = self.scope is None if cycle is None else cycle.scope is self.scope and cycle.response_complete
        return idle and not self.is_sending() and not self.transport.is_closing()

    def _begin(self, request: bytes) -> None:
        self._held = b""
        begun = self._lean.begin(request)
        if begun is not None:
            plain, self._asked = begun
            self._asked.add_done_callback(partial(self._answer, plain, request, time.perf_counter()))
        elif without_body(request):
            self._held = request
        else:
            super().data_received(request)

    def _answer(self, plain: Plain, request: bytes, began: float, found: "Future[Answer]") -> None:
        self._asked, self._told = None, found
        if found.cancelled():  # the connection is lost
            return
        last = self._load.draining
        answer = self._lean.answer(plain, found, self.server_state.default_headers, began, last=last)
        if answer is None:
            super().data_received(request)
        else:
            self.server_state.total_requests += 1
            self.transport.write(answer)
            if last:
                self.transport.close()
        if self._held:
            held, self._held = self._held, b""
            self.flow.resume_reading()
            self.data_received(held)

    # Bounds of time

    def _waits_for(self) -> tuple[object, float]:
        if self._asked is not None:
            return None, 0
        if self._held:
            return self._held, limits.REQUEST_S
        if self._told is not None and self._between_requests():
            return self._told, limits.KEEP_ALIVE_S
        return super()._waits_for()

    def _close_if_idle(self) -> None:
        if self._asked is None:
            super()._close_if_idle()
