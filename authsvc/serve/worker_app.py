"""The ASGI application of one worker process, and how a process makes it."""

import gc
import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from authsvc.api.routes import CALLS
from authsvc.app import build
from authsvc.composition import open_deps
from authsvc.edge.fast_path import FastPath
from authsvc.edge.limits import Load
from authsvc.errors import StartupError
from authsvc.flows.deps import Deps
from authsvc.logs import log_to_stderr
from authsvc.metrics import Metrics
from authsvc.metrics.registry import SharedArray, values_in
from authsvc.serve.background import background
from authsvc.serve.readiness import refuse_wrong_store
from authsvc.settings import Settings, traces_wanted
from authsvc.web.middleware.last_resort import LastResort

if TYPE_CHECKING:
    from authsvc.web.middleware.tracing import Tracing

log = logging.getLogger(__name__)


def make_worker_app(
    settings: Settings, founded: int | None, values: SharedArray, *, successor: bool = False
) -> "WorkerApp":
    """The application of this process, which counts in `values`. uvicorn calls this in each worker process.

    founded: when the service was set up (`readiness.founded_at`).
    successor: the worker takes the place of a worker that serves. It starts only if it can serve, and only on a store
    of the same service.
    """
    log_to_stderr(settings.log_format, settings.foreign_key_prefixes)
    return WorkerApp(settings, founded, Metrics(CALLS, values_in(values)), successor=successor)


class WorkerApp:
    """Opens the parts of the service when the worker starts, and closes them when it stops."""

    def __init__(self, settings: Settings, founded: int | None, metrics: Metrics, *, successor: bool) -> None:
        self._settings = settings
        self._founded = founded
        self._metrics = metrics
        self._successor = successor
        self._app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            try:
                await self._live(scope, receive, send)
            except StartupError as error:
                log.error("a worker can't start: %s", error)
                await send({"type": "lifespan.startup.failed"})
            return
        await self._app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        settings = self._settings
        scope["state"]["load"] = Load(
            settings.max_requests, settings.max_connections, self._metrics, keep_alive_s=settings.keep_alive_s
        )
        await receive()  # lifespan.startup
        tracing = _tracing()
        span = tracing.span if tracing else nullcontext
        async with open_deps(self._settings, self._settings.redis_url or "", metrics=self._metrics, span=span) as deps:
            app = build(deps)
            if self._successor:
                await refuse_wrong_store(deps, self._founded)
            self._app = LastResort(tracing.around(app) if tracing else app, self._metrics)
            if self._settings.console_port:
                scope["state"]["console"] = LastResort(_console(deps), self._metrics)
            scope["state"]["fast_path"] = FastPath(deps, traced=tracing is not None)
            _spare_garbage_collection()
            async with background(deps):
                await send({"type": "lifespan.startup.complete"})
                await receive()  # lifespan.shutdown
        if tracing is not None:
            tracing.close()
        await send({"type": "lifespan.shutdown.complete"})


def _console(deps: Deps) -> ASGIApp:
    from authsvc.console.admin.app import build_console  # needs the extra `pages`

    return build_console(deps)


def _spare_garbage_collection() -> None:
    """Leave the objects of the start out of garbage collection, and collect less often.

    The objects that are alive now stay alive. By default, collection took an eighth of the time of an introspection.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _tracing() -> "Tracing | None":
    """Traces, if OpenTelemetry is installed and its settings say where to send them."""
    if not traces_wanted():
        return None
    try:
        from authsvc.web.middleware import tracing  # needs the extra `otel`
    except ModuleNotFoundError as missing:
        log.warning("no traces: %s is not installed, the extra otel brings it", missing.name)
        return None
    return tracing.Tracing(tracing.from_environment())
