"""The stream of server-sent events that tells caches which answers to forget."""

import asyncio
from contextlib import nullcontext
from functools import lru_cache

from msgspec.json import encode
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from authsvc.api.routes import EVENT_STREAM
from authsvc.flows import events as flow
from authsvc.metrics import Metrics
from authsvc.store.subscription import EVERYTHING, MAX_BACKLOG, Announcement, now_ms
from authsvc.web import callers
from authsvc.web.context import RequestContext
from authsvc.web.reading import refuse_query
from authsvc.web.scope import END


async def events(ctx: RequestContext) -> Response:
    refuse_query(ctx.request)
    credentials = callers.client_credentials(ctx.request)
    listener = await flow.listen(ctx.deps, ctx.caller, credentials.client_id, credentials.secret)
    return EventStream(listener, ctx.deps.metrics)


class EventStream(Response):
    """An answer without end: either side may close it."""

    def __init__(self, listener: flow.Listener, metrics: Metrics) -> None:
        # Response's own __init__ would set a length. X-Accel-Buffering: nginx would wait for a buffer to fill.
        self.status_code = 200
        self.background = None
        self.init_headers({"Content-Type": EVENT_STREAM.type, "X-Accel-Buffering": "no"})
        self._listener = listener
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            await self._stream(scope, receive, send)
        await send({"type": "http.response.body", "body": b""})

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        load = scope.get("state", {}).get("load")  # the server's, where it counts its load
        if load is not None and load.draining:  # the server has told its streams to end already
            return
        with self._listener as listener, load.streaming() if load is not None else nullcontext():
            scope[END] = listener.close
            watching = asyncio.create_task(_until_gone(receive, listener))
            try:
                while (told := await listener.next()) is not None:
                    await send({"type": "http.response.body", "body": encoded(told), "more_body": True})
                    # The server writes at the end of a turn of the event loop, and only then reports a slow reader.
                    await asyncio.sleep(0)
                    if told.heard_at is not None:
                        self._metrics.event_lag.observe((now_ms() - told.heard_at) / 1000)
            finally:
                watching.cancel()


async def _until_gone(receive: Receive, listener: flow.Listener) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.close()


def encoded(told: Announcement) -> bytes:
    # The time of `everything` is the origin of the times in heartbeats.
    return _event(told.name, {"at": now_ms()}) if told is EVERYTHING else _shared(told)


# All subscribers of a worker get the same bytes.
@lru_cache(maxsize=MAX_BACKLOG)
def _shared(told: Announcement) -> bytes:
    return _event(told.name, told.digests if told.at is None else {"at": told.at})


def _event(name: str, data: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), encode(data))
