"""Counting every request with its route, and how long its answer took to begin."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authsvc.metrics import Call, Metrics
from authsvc.metrics.families import OTHER
from authsvc.web.scope import ROUTE

_NONE = Call(OTHER, OTHER)


class RequestMetrics:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = scope.get(ROUTE)
                call = _NONE if route is None else Call(route.method, route.path)
                self._metrics.requests.add(*call, str(message["status"]))
                self._metrics.request_duration.observe(time.perf_counter() - started, *call)
            await send(message)

        await self._app(scope, receive, noting)
