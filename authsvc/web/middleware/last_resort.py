"""The outermost layer: an exception that no other layer has answered."""

from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from authsvc.metrics import Metrics
from authsvc.metrics.families import OTHER
from authsvc.web.errors import problem
from authsvc.web.middleware.headers import with_headers
from authsvc.web.middleware.request_id import request_id


class LastResort:
    """Answers such an exception in the form of all errors, and raises it again: uvicorn logs it.

    uvicorn itself would answer in plain text.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception:
            scope["request_id"] = request_id(scope)
            self._metrics.requests.add(OTHER, OTHER, "500")
            self._metrics.unexpected_errors.add()
            with suppress(RuntimeError):  # the answer had begun
                await problem(500, "server_error", "something went wrong here")(
                    scope, receive, with_headers(scope, send)
                )
            raise
