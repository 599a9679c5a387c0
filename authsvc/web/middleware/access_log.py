"""A sampled access log, off unless asked for: the audit trail is the record of what matters."""

import logging
import random
import re
import time
from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authsvc.core.token import Kind
from authsvc.web.scope import SAMPLED

log = logging.getLogger("authsvc.access")


class AccessLog:
    """Logs a share of the requests: method, path without query, status, duration in ms, request id."""

    def __init__(self, app: ASGIApp, share: float, foreign: Sequence[str] = ()) -> None:
        """foreign: the prefixes of foreign keys."""
        self._app = app
        self._share = share
        # A client may put a token into a path by mistake. The log must not show it.
        prefixes = "|".join([*(f"{kind}_" for kind in Kind), *map(re.escape, foreign)])
        self._token = re.compile(rf"({prefixes})[0-9A-Za-z._~+=-]+")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._is_sampled(scope):
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                fields = {
                    "method": scope["method"],
                    "path": self._token.sub(r"\1…", scope["path"]),
                    "status": message["status"],
                    "duration_ms": round((time.perf_counter() - started) * 1000, 2),
                    "request_id": scope.get("request_id"),
                }
                log.info("%s %s", scope["method"], message["status"], extra={"fields": fields})
            await send(message)

        await self._app(scope, receive, noting)

    def _is_sampled(self, scope: Scope) -> bool:
        decided: bool | None = scope.get(SAMPLED)
        return random.random() < self._share if decided is None else decided  # noqa: S311 - nothing secret depends on it
