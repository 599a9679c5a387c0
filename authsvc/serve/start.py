"""Starting the service: its store, its first admin, its socket, its server."""

import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from authsvc.api.routes import CALLS
from authsvc.app import build
from authsvc.composition import open_deps
from authsvc.edge.fast_protocol import FastProtocol
from authsvc.edge.limits import raise_descriptors
from authsvc.edge.server import GRACE_S, Server
from authsvc.edge.workers import Workers
from authsvc.errors import StartupError, StoreUnavailable
from authsvc.flows.bootstrap import first_start
from authsvc.flows.demo_user import DEMO
from authsvc.flows.deps import Deps
from authsvc.logs import log_to_stderr
from authsvc.metrics.exposition import exposed
from authsvc.metrics.registry import WorkerRegistry
from authsvc.ops.data_dir import running_url
from authsvc.ops.embedded import LOCK_WAIT_S, Embedded
from authsvc.ops.factor_key_file import read_key, read_or_make_key
from authsvc.ops.inspection import MAX_CLOCK_DIFFERENCE_S, clock_ahead, loses_at_restart
from authsvc.ops.location import location
from authsvc.serve.banner import banner, first_steps
from authsvc.serve.console import console_address, console_socket, port_of
from authsvc.serve.dev import demo_user, for_development
from authsvc.serve.first_admin import write_admin
from authsvc.serve.interruptions import Interruptions, waiting_interruptions
from authsvc.serve.listening import METRICS_PORT, SERVICE_PORT, listen
from authsvc.serve.readiness import founded_at, once_it_answers
from authsvc.serve.worker_app import make_worker_app
from authsvc.settings import Settings
from authsvc.waiting import until

log = logging.getLogger(__name__)

# RFC 6797: browsers use HTTPS only for this host and the hosts below it, for a year.
HSTS = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")

MakeApp = Callable[..., Any]


def serve(settings: Settings, *, dev: bool = False) -> None:
    """Serve until SIGINT or SIGTERM. Raises StartupError.

    dev: for development on this machine; see `serve/dev.py`.
    """
    if dev:
        settings = for_development(settings)
    log_to_stderr(settings.log_format, settings.foreign_key_prefixes)
    raise_descriptors()
    # This handler also stops the embedded store if the signal comes during the start.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if settings.redis_url is None:
        _refuse_what_an_embedded_store_cannot_do(settings)
    registry = WorkerRegistry(CALLS)
    refusals: list[str] = []
    # The socket comes before the store: a start that fails must leave the Valkey of a running service alone.
    with (
        listen(settings.host, settings.port, SERVICE_PORT) as listening,
        console_socket(settings, refusals.append) as console,
        _metrics(settings, registry),
        _store_url(settings) as url,
    ):
        ports = {"port": listening.getsockname()[1], "console_port": port_of(console)}
        settings = _with_factor_key(settings.but(**ports), read_key)
        # The secret comes before all that can fail or be interrupted: no later start shows it again.
        with waiting_interruptions() as interruptions:
            admin, founded = uvloop.run(_first_start(settings, url, interruptions))
            _print(banner(settings))
            if admin is not None:
                _hand_out(settings, *admin)
        # A start that is refused because its key is missing must not leave a wrong one in its place.
        settings = _with_factor_key(settings, read_or_make_key)
        if console is not None:
            _print(uvloop.run(console_address(settings, url)))
        elif refusals:
            _print(f"There is no console for admins: {refusals[0]}.")
        if dev and settings.redis_url is None:
            _make_demo_user(settings, url)
        _run(settings, url, founded, [listening, *filter(None, [console])], registry)
    log.info("stopped")


def _metrics(settings: Settings, registry: WorkerRegistry) -> AbstractContextManager[None]:
    """Serve the metrics, if they have a port. Raises StartupError."""
    if not settings.metrics_port:
        return nullcontext()
    return exposed(registry, listen(settings.metrics_host, settings.metrics_port, METRICS_PORT))


def _hand_out(settings: Settings, client_id: str, secret: str) -> None:
    """Write the first admin where the settings say, or print it."""
    path = settings.first_admin_out
    if path is not None and write_admin(path, client_id, secret):
        _print(f"First start: the admin client {client_id} and its secret are in {path.resolve()}.")
    elif not _print(first_steps(settings.base_url, client_id, secret)):
        log.error("nobody has the secret of the admin client %s: make one with authsvc client rotate-secret", client_id)


def _make_demo_user(settings: Settings, url: str) -> None:
    with waiting_interruptions():
        password = uvloop.run(demo_user(settings, url))
        if password is not None:
            _print(f"For development: log in as {DEMO} with the password {password}, which is shown this once.")


def _run(
    settings: Settings, url: str, founded: int | None, sockets: list[socket.socket], registry: WorkerRegistry
) -> None:
    fixed: dict[str, object] = {"port": settings.port, "console_port": settings.console_port}
    if settings.redis_url is None:
        fixed |= {"redis_url": url, "factor_key": settings.factor_key}
    # A process gets its settings through a pipe. Its environment would show them to others, and with them a password
    # that was mounted as a file.
    make_app = partial(make_worker_app, settings.but(**fixed), founded)
    config = _config(settings, make_app)
    if settings.workers == 1:
        config.app = partial(make_app, registry.add_worker())
        Server(config).run(sockets=sockets)
    else:

        def reread() -> MakeApp:
            return partial(make_worker_app, Settings.from_environment().but(**fixed), founded)

        Workers(config, sockets, registry, reread).run()


def _config(settings: Settings, make_app: MakeApp) -> uvicorn.Config:
    return uvicorn.Config(
        make_app,
        factory=True,
        workers=settings.workers,
        loop="uvloop",
        http=FastProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        headers=[HSTS] if settings.base_url.startswith("https://") else [],
        proxy_headers=False,  # uvicorn would believe any address that a client writes
        timeout_graceful_shutdown=GRACE_S,
    )


@contextmanager
def _store_url(settings: Settings) -> Iterator[str]:
    """The configured store, or an embedded Valkey that runs meanwhile. Raises StartupError."""
    if settings.redis_url is not None:
        yield settings.redis_url
        return
    with Embedded(settings.data_dir) as embedded:
        yield embedded.url


def _with_factor_key(settings: Settings, obtain: Callable[[Path], str | None]) -> Settings:
    """The settings with the key that an embedded store has beside it, unless they name another. Raises StartupError."""
    if settings.redis_url is not None or settings.factor_key:
        return settings
    return settings.but(factor_key=obtain(settings.data_dir) or ())


async def _first_start(
    settings: Settings, url: str, interruptions: Interruptions
) -> tuple[tuple[str, str] | None, int | None]:
    """Set up an empty store.

    Returns the id and the secret of the admin client, None if this start made none; and the time when the service of
    this store was set up, None if that is not known.
    interruptions: they wait once the secret is made. Before that, a start that waits for its store can be ended.
    """

    async def attempt(deps: Deps) -> tuple[str, str] | None:
        interruptions.let_in()
        return await first_start(deps)

    async with open_deps(settings, url) as deps:
        build(deps)  # pages that cannot be made stop the start here, and not each worker
        admin = await once_it_answers(deps, attempt)
        if admin is not None:
            log.info("first start: set up an empty store, %s", location(settings.redis_url, settings.data_dir))
        await _warn(deps)
        founded = None
        with suppress(StoreUnavailable):
            founded = await founded_at(deps)
        return admin, founded


async def _warn(deps: Deps) -> None:
    """Log what an operator should mend, besides the faults that each worker logs."""
    with suppress(StoreUnavailable):  # the start goes on: only it can show the secret of the admin
        if await loses_at_restart(deps.store.connection):
            log.warning("a restart of the store loses users and revocations: authsvc check says what to do")
        ahead_s = await clock_ahead(deps.store.connection)
        if ahead_s is not None and abs(ahead_s) > MAX_CLOCK_DIFFERENCE_S:
            log.warning("the store's clock differs by %.0f s from this machine's: run NTP on both", ahead_s)
    directory = deps.settings.data_dir
    if deps.settings.redis_url is None and (mode := directory.stat().st_mode & 0o777) & 0o077:
        log.warning("others can look into the data directory %s (%04o): chmod 700 it", directory.resolve(), mode)


def _refuse_what_an_embedded_store_cannot_do(settings: Settings) -> None:
    """Raise StartupError if the settings ask for replicas, or if a service runs on the directory already."""
    if settings.durability == "replica":
        raise StartupError("AUTHSVC_DURABILITY=replica needs AUTHSVC_REDIS_URL: the embedded Valkey has no replica")
    _refuse_second_service(settings.data_dir)


def _refuse_second_service(data_dir: Path) -> None:
    for _ in until(LOCK_WAIT_S):  # a command may run the store for a moment
        if running_url(data_dir) is None:
            return
    raise StartupError(f"a service is already running on {data_dir.resolve()}: stop it, or set AUTHSVC_DATA_DIR")


def _print(text: str) -> bool:
    """Print a text for the operator; the log goes to stderr. False if stdout takes nothing."""
    try:
        print(text, flush=True)  # noqa: T201
    except OSError as error:
        log.warning("can't print on stdout: %s", error.strerror)
        return False
    return True
