"""The outermost layer: an exception that no other layer has answered, and a request that a stop cuts off."""

import asyncio
from contextlib import suppress

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from authsvc.metrics import Metrics
from authsvc.metrics.families import OTHER
from authsvc.web.errors import problem
from authsvc.web.middleware.headers import with_headers
from authsvc.web.middleware.request_id import request_id


class LastResort:
    """Answers in the form of all errors, and raises the exception again: uvicorn logs it.

    uvicorn itself would answer 500 in plain text, also to a request that it cancels because the worker stops. Such a
    request gets 503: another worker can answer it.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            told = "the service is stopping; what was asked may be done already"
            await self._answer(problem(503, "temporarily_unavailable", told), scope, receive, send)
            raise
        except Exception:
            self._metrics.unexpected_errors.add()
            await self._answer(problem(500, "server_error", "something went wrong here"), scope, receive, send)
            raise

    async def _answer(self, answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
        scope["request_id"] = request_id(scope)
        self._metrics.requests.add(OTHER, OTHER, str(answer.status_code))
        with suppress(RuntimeError):  # the answer had begun
            await answer(scope, receive, with_headers(scope, send))
