"""The route that tells what to forget, as server-sent events."""

import asyncio
from functools import lru_cache

from msgspec.json import encode
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from authsvc.api.parsing import refuse_query
from authsvc.edge.limits import Load
from authsvc.flows import events as flow
from authsvc.flows.deps import Deps
from authsvc.metrics import Metrics
from authsvc.store.changes import EVERYTHING, MAX_BACKLOG, Announcement, now_ms
from authsvc.web import callers

EVENT_STREAM = "text/event-stream"
# Where, in the scope of its request, an answer that never ends by itself leaves word how to end it.
END = "authsvc.end"


async def events(deps: Deps, request: Request) -> Response:
    refuse_query(request)
    listener = await flow.listen(deps, callers.source(request), *callers.presented(request))
    return EventStream(listener, deps.metrics)


class EventStream(Response):
    """An answer that goes on until either side ends it."""

    def __init__(self, listener: flow.Listener, metrics: Metrics) -> None:
        # Not Response's own, which knows the length. Proxies such as nginx would wait for a buffer to fill.
        self.status_code = 200
        self.background = None
        self.init_headers({"Content-Type": EVENT_STREAM, "X-Accel-Buffering": "no"})
        self._listener = listener
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            await self._stream(scope, receive, send)
        await send({"type": "http.response.body", "body": b""})

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._listener as listener, _load(scope).streaming():
            scope[END] = listener.close
            watching = asyncio.create_task(_until_gone(receive, listener))
            try:
                while (told := await listener.next()) is not None:
                    await send({"type": "http.response.body", "body": encoded(told), "more_body": True})
                    # The server writes at the end of a turn, and only then says that the reader is too slow.
                    await asyncio.sleep(0)
                    if told.heard_at is not None:
                        self._metrics.event_lag.observe((now_ms() - told.heard_at) / 1000)
            finally:
                watching.cancel()


async def _until_gone(receive: Receive, listener: flow.Listener) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.close()


def _load(scope: Scope) -> Load:
    load: Load | None = scope.get("state", {}).get("load")
    return load or Load()


def encoded(told: Announcement) -> bytes:
    # `everything` says when it is told, to begin with: what the moments that heartbeats name are relative to.
    return _event(told.name, {"at": now_ms()}) if told is EVERYTHING else _shared(told)


# The same bytes for all subscribers of a worker.
@lru_cache(maxsize=MAX_BACKLOG)
def _shared(told: Announcement) -> bytes:
    return _event(told.name, told.digests if told.at is None else {"at": told.at})


def _event(name: str, data: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), encode(data))
