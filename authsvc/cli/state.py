"""Reaches the store: the configured one, the one of the service that runs here, or one started for the command."""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from authsvc.cli.output import printable_lines, say
from authsvc.cli.statuses import NotReached, WrongSettings
from authsvc.composition import open_deps
from authsvc.errors import CorruptRecord, FormatNotAllowed, NewerFormat, NotDurable, StartupError, StoreUnavailable
from authsvc.flows.deps import Deps
from authsvc.ops.data_dir import running_url
from authsvc.ops.embedded import Embedded
from authsvc.ops.factor_key_file import read_key
from authsvc.settings import Settings
from authsvc.waiting import until

T = TypeVar("T")

# How long a command waits for a service that is just starting or stopping.
WAIT_S = 10.0


def settings(options: Mapping[str, object] = {}) -> Settings:
    """Read the environment. options: settings of the command line, which go first. Raises WrongSettings."""
    try:
        return Settings.from_environment().but(**options)
    except StartupError as error:
        raise WrongSettings(str(error)) from None


def run(work: Callable[[Deps], Awaitable[T]], *, unused: bool = False) -> T:
    """Run `work` on the store. `work` must not prompt: an embedded store is locked meanwhile, so no service can start.

    `unused`: also on a store on which no service ever ran.

    Raises WrongSettings, StartupError and StoreUnavailable, besides what `work` raises.
    """
    _log_to_stderr()
    configured = settings()
    if configured.redis_url is not None:
        try:
            return asyncio.run(_on(configured, configured.redis_url, work, unused))
        except NotReached as error:
            raise NotReached(f"the store can't be asked: {error}", error.todo) from None
    failure: NotReached | None = None
    # The owner may have stopped between the two looks, or may not be ready yet, so each round asks who owns the store.
    for _ in until(WAIT_S):
        try:
            with _store_in(configured.data_dir) as url:
                return asyncio.run(_on(_with_factor_key(configured), url, work, unused))
        except NotReached as error:
            failure = error
    where = configured.data_dir.resolve()
    problem = f"the service that owns {where} does not answer ({failure}): it may be starting or stopping"
    raise NotReached(f"{problem}; try again")


def attached(work: Callable[[Deps], Awaitable[T]], *, within_s: float | None = None) -> T:
    """Run `work` on a store that another process runs. Every service can start meanwhile.

    within_s: for how long at most; None: for as long as it takes.
    Raises WrongSettings, StartupError, StoreUnavailable and TimeoutError, besides what `work` raises.
    """
    _log_to_stderr()
    configured = settings()
    url = configured.redis_url or running_url(configured.data_dir)
    if url is None:
        raise StoreUnavailable(f"no service runs on {configured.data_dir.resolve()}: this takes one that does")
    return asyncio.run(asyncio.wait_for(_on(configured, url, work, False), within_s))


def _with_factor_key(configured: Settings) -> Settings:
    """The settings with the key that an embedded store has beside it, unless they name another."""
    if configured.factor_key:
        return configured
    return configured.but(factor_key=read_key(configured.data_dir) or ())


@contextmanager
def _store_in(data_dir: Path) -> Iterator[str]:
    url = running_url(data_dir)
    with ExitStack() as stack:
        if url is None:
            _refuse_to_make_one(data_dir.resolve())
            embedded = Embedded(data_dir)
            try:
                url = stack.enter_context(embedded).url
            except StartupError:
                if running_url(data_dir) is None:
                    raise
                raise NotReached("another process started it first") from None
        yield url


def _refuse_to_make_one(data_dir: Path) -> None:
    """Raise StartupError unless a store may run here: a mistyped directory must not look like an empty store."""
    if not (data_dir / "appendonlydir").is_dir():
        raise StartupError(
            f"there is no store in {data_dir}",
            todo="start one with `authsvc serve`, go to the folder in which the service was started, or set "
            "AUTHSVC_DATA_DIR or AUTHSVC_REDIS_URL",
        )
    # Root could run the store, and would leave files that the service can't read.
    if (owner := data_dir.stat().st_uid) != os.geteuid():
        raise StartupError(f"{data_dir} belongs to the user with id {owner}", todo="run this as that user")


async def _on(configured: Settings, url: str, work: Callable[[Deps], Awaitable[T]], unused: bool) -> T:
    async with AsyncExitStack() as stack:
        try:
            deps = await stack.enter_async_context(open_deps(configured, url))
        except StartupError as error:
            raise WrongSettings(str(error)) from None
        try:
            service = await deps.store.service.find()
        except (CorruptRecord, NewerFormat):
            raise
        except StoreUnavailable as error:
            raise NotReached(str(error), error.todo) from None
        if service is None and not unused:
            raise StoreUnavailable("this store was never used: run `authsvc serve` on it first")
        try:
            return await work(deps)
        except (CorruptRecord, NewerFormat, FormatNotAllowed, NotDurable):
            raise
        except StoreUnavailable as error:
            hint = "what was to be changed may be changed or not: look before you try again"
            raise type(error)(f"the store stopped answering ({error}); {hint}") from None


class _Unwritten(logging.Handler):
    """Shows an audit event on the terminal if the trail could not be written: it would be lost otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self._event: object = None

    def emit(self, record: logging.LogRecord) -> None:
        self._event = getattr(record, "fields", self._event)
        if record.levelno >= logging.ERROR:
            say(f"authsvc: not in the audit trail, the store being gone: {self._event}")


class _Printable(logging.Formatter):
    """Escapes what could steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def _log_to_stderr() -> None:
    """Log only what matters at a terminal."""
    if logging.getLogger().handlers:
        return
    plain = logging.StreamHandler(sys.stderr)
    plain.setFormatter(_Printable("authsvc: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[plain])
    for module in ("connection", "failures", "redis_py"):  # the command prints these failures itself
        logging.getLogger(f"authsvc.driver.{module}").setLevel(logging.ERROR)
    trail = logging.getLogger("authsvc.audit")
    trail.setLevel(logging.INFO)
    trail.propagate = False
    trail.addHandler(_Unwritten())
