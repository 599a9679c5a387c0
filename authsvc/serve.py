"""Running the service: the store it uses, the first start, the HTTP server."""

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from authsvc import __version__
from authsvc.api.routes import CALLS
from authsvc.app import build
from authsvc.composition import open_deps
from authsvc.edge.lean import Lean
from authsvc.edge.lean_protocol import LeanProtocol
from authsvc.edge.limits import Load, raise_descriptors
from authsvc.edge.server import GRACE_S, Server
from authsvc.edge.workers import Workers
from authsvc.errors import AuthError, StartupError, StoreUnavailable
from authsvc.flows.bootstrap import first_start
from authsvc.flows.deps import Deps
from authsvc.flows.ready import faults, ready
from authsvc.logs import log_to_stderr
from authsvc.metrics import Metrics
from authsvc.metrics.exposition import exposed
from authsvc.metrics.families import OTHER
from authsvc.metrics.registry import SharedArray, WorkerRegistry, values_in
from authsvc.ops.embedded import LOCK_WAIT_S, Embedded, running_url
from authsvc.settings import Settings, traces_wanted
from authsvc.web.errors import problem
from authsvc.web.middleware.headers import request_id, sealed

if TYPE_CHECKING:
    from authsvc.web.middleware.tracing import Tracing

log = logging.getLogger(__name__)

# RFC 6797, for browsers: this host and those below it by HTTPS only, for a year.
HSTS = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
# How long a start waits for the store, which may be starting too.
PATIENCE_S = 5
# How often a worker looks whether the store is fit, for the metrics.
READINESS_S = 5


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM. Raises StartupError."""
    log_to_stderr()
    raise_descriptors()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # also while starting: the embedded store is stopped then
    if settings.redis_url is None:
        if settings.durability == "replica":
            raise StartupError("AUTHSVC_DURABILITY=replica needs AUTHSVC_REDIS_URL: the embedded Valkey has no replica")
        _refuse_a_second(settings.data_dir)
    registry = WorkerRegistry(CALLS)
    metrics = exposed(registry, settings.metrics_host, settings.metrics_port)
    # Listening comes before the store, or a start in vain would end the Valkey that others still answer from.
    with _listen(settings) as listening, metrics, store_url(settings) as url:
        settings = settings.but(port=listening.getsockname()[1])
        admin = uvloop.run(_first_start(settings, url))
        state = "the configured store" if settings.redis_url else f"an embedded Valkey in {settings.data_dir.resolve()}"
        print(f"authsvc {__version__} on {settings.base_url}, state in {state}", flush=True)  # noqa: T201
        if admin is not None:
            print(walk(settings.base_url, *admin), flush=True)  # noqa: T201
        fixed: dict[str, object] = {"port": settings.port}
        if settings.redis_url is None:
            fixed["redis_url"] = url
        # Settings reach a process by a pipe, not in its environment: others can look into that, and a password from a
        # file would be in it.
        application = partial(worker, settings.but(**fixed))
        config = uvicorn.Config(
            application,
            factory=True,
            workers=settings.workers,
            loop="uvloop",
            http=LeanProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            headers=[HSTS] if settings.base_url.startswith("https://") else [],
            proxy_headers=False,  # it would believe whatever address a client writes
            timeout_graceful_shutdown=GRACE_S,
        )
        if settings.workers == 1:
            config.app = partial(application, registry.add_worker())
            Server(config).run(sockets=[listening])
        else:
            Workers(
                config, [listening], registry, lambda: partial(worker, Settings.from_environment().but(**fixed))
            ).run()


@contextmanager
def store_url(settings: Settings) -> Iterator[str]:
    """The configured store, or an embedded Valkey that runs meanwhile. Raises StartupError."""
    if settings.redis_url is not None:
        yield settings.redis_url
        return
    with Embedded(settings.data_dir) as embedded:
        yield embedded.url


async def _first_start(settings: Settings, url: str) -> tuple[str, str] | None:
    async with open_deps(settings, url) as deps:
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                admin = await first_start(deps)
                with suppress(StoreUnavailable):  # or the next round would return no secret
                    for fault in await faults(deps):
                        log.warning("not ready: %s", fault.text)
                return admin
            except StoreUnavailable as error:
                if time.monotonic() > give_up_at:
                    raise StartupError(f"the store does not answer ({error})") from None
                await asyncio.sleep(0.2)


def _refuse_a_second(data_dir: Path) -> None:
    give_up_at = time.monotonic() + LOCK_WAIT_S  # a command may have the store up for a moment
    while running_url(data_dir) is not None:
        if time.monotonic() > give_up_at:
            where = data_dir.resolve()
            raise StartupError(f"a service is already running on {where}: stop it, or set AUTHSVC_DATA_DIR")
        time.sleep(0.1)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise StartupError(
            f"can't listen on {settings.host}, port {settings.port}: {os.strerror(error.errno or 0).lower()}"
        ) from None


def worker(settings: Settings, values: SharedArray) -> "Worker":
    """Make the application of one worker process, which counts in `values`; uvicorn calls this in each."""
    log_to_stderr()
    return Worker(settings, Metrics(CALLS, values_in(values)))


class Worker:
    """One worker's application: opens the parts of the service when it starts, gives them back when it stops."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except Exception:  # what Starlette does not see; uvicorn, who logs it, would answer in plain text
            scope["request_id"] = request_id(scope)
            self._metrics.requests.add(OTHER, OTHER, "500")
            self._metrics.unexpected_errors.add()
            with suppress(RuntimeError):  # there was an answer already
                await problem(500, "server_error", "something went wrong here")(scope, receive, sealed(scope, send))
            raise

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["load"] = Load(self._settings.max_requests, self._settings.max_connections, self._metrics)
        await receive()  # lifespan.startup
        tracing = _tracing()
        span = tracing.span if tracing else nullcontext
        async with open_deps(self._settings, self._settings.redis_url or "", metrics=self._metrics, span=span) as deps:
            self._app = tracing.around(build(deps)) if tracing else build(deps)
            scope["state"]["lean"] = Lean(deps, traced=tracing is not None)
            # What is alive now stays alive: the garbage collector need not look at it again. Without this and the
            # higher threshold it took an eighth of the time of an introspection.
            gc.freeze()
            gc.set_threshold(50_000, 20, 100)
            parent = multiprocessing.parent_process()
            tasks = [asyncio.create_task(_end_with(parent.pid))] if parent and parent.pid else []
            if self._settings.metrics_port is not None:  # or nobody would see it
                tasks.append(asyncio.create_task(_watch_readiness(deps)))
            await send({"type": "lifespan.startup.complete"})
            await receive()  # lifespan.shutdown
            for task in tasks:
                task.cancel()
        if tracing is not None:
            tracing.close()
        await send({"type": "lifespan.shutdown.complete"})


def _tracing() -> "Tracing | None":
    """Traces, if OpenTelemetry is installed and told where to send them."""
    if not traces_wanted():
        return None
    try:
        from authsvc.web.middleware import tracing  # what is not used need not be installed
    except ModuleNotFoundError as missing:
        log.warning("no traces: %s is not installed, authsvc[otel] brings it", missing.name)
        return None
    return tracing.Tracing(tracing.from_environment())


async def _end_with(parent: int) -> None:
    """End this worker when its parent is gone: nobody would supervise it, nor the store, and it holds the port."""
    while os.getppid() == parent:  # noqa: ASYNC110 - nobody tells; one has to look
        await asyncio.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


async def _watch_readiness(deps: Deps) -> None:
    while True:
        try:
            await ready(deps)
            deps.metrics.ready.set(1)
        except AuthError:
            deps.metrics.ready.set(0)
        await asyncio.sleep(READINESS_S)


def walk(base: str, client_id: str, secret: str) -> str:
    """What the first start prints: the admin's secret, this once, and five commands to try it with."""
    as_json = "-H 'Content-Type: application/json' -d"
    ada = '"username": "ada", "password": "a walk by the river"'
    pick = 'import json, sys; print(json.load(sys.stdin)["access_token"])'
    return f"""
First start: this is the admin client. The secret is shown this once; keep it.

  client_id      {client_id}
  client_secret  {secret}

Try it, line by line, in another terminal:

  ADMIN={client_id}:{secret}
  curl -s -u $ADMIN {base}/admin/users {as_json} '{{{ada}, "roles": ["editor"]}}'
  TOKEN=$(curl -s {base}/login {as_json} '{{{ada}}}' | python3 -c '{pick}'); echo $TOKEN
  curl -s -u $ADMIN {base}/introspect -d token=$TOKEN
  curl -s -u $ADMIN {base}/revoke -d token=$TOKEN
  curl -s -u $ADMIN {base}/introspect -d token=$TOKEN
"""
