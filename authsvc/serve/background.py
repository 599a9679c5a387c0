"""The tasks that run in a worker beside its requests, for as long as the worker lives."""

import asyncio
import logging
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from authsvc.errors import AuthError
from authsvc.flows.deps import Deps
from authsvc.flows.hash_forms import count_forms
from authsvc.flows.indexes import fill_admins, fill_lists
from authsvc.flows.left_out import record_left_out
from authsvc.flows.operator_log import log_operator
from authsvc.flows.ready import faults
from authsvc.ops.fitness import Fault

log = logging.getLogger(__name__)

# How often a worker looks whether its parent process still runs.
PARENT_CHECK_S = 0.5
# How often a worker asks whether the store is fit, for the metrics and the log.
READINESS_S = 5
# How often a worker looks for new forms of imported hashes, to measure them before a login waits for that.
HASH_FORMS_S = 15


@dataclass(frozen=True, slots=True)
class BackgroundTask:
    """`run` goes on until its work is done or it is cancelled. `needed`: whether this worker needs the task."""

    name: str
    run: Callable[[Deps], Awaitable[None]]
    needed: Callable[[Deps], bool]


async def end_with_parent(deps: Deps) -> None:
    """End this worker when its parent has ended: the worker holds the port, and nothing supervises it or the store."""
    parent = multiprocessing.parent_process()
    # No event tells that the parent has ended, so the worker has to look.
    while parent is None or os.getppid() == parent.pid:  # noqa: ASYNC110 - as the comment above says
        await asyncio.sleep(PARENT_CHECK_S)
    os.kill(os.getpid(), signal.SIGTERM)


async def watch_readiness(deps: Deps) -> None:
    """Keep the metric of readiness up to date, and log each change. The driver logs that a store does not answer."""
    known: list[Fault] = []
    while True:
        try:
            found = await faults(deps)
        except AuthError:
            deps.metrics.ready.set(0)
        else:
            deps.metrics.ready.set(0 if found else 1)
            for fault in found:
                if fault not in known:
                    log.warning("not ready: %s", fault.text)
            if known and not found:
                log.info("ready again")
            known = found
        await asyncio.sleep(READINESS_S)


async def watch_hash_forms(deps: Deps) -> None:
    """Keep the list of the forms of imported hashes up to date. One worker of the installation counts."""
    failed = False
    while True:
        try:
            await count_forms(deps)
            service = await deps.store.service.find()
            await deps.hasher.learn(service.hash_forms if service else ())
            failed = False
        except AuthError as error:  # the next attempt comes soon enough: logins add what the list lacks
            if not failed:  # during an outage every attempt fails
                log.warning("the forms of imported hashes were not counted: %s", error)
            failed = True
        await asyncio.sleep(HASH_FORMS_S)


TASKS: tuple[BackgroundTask, ...] = (
    BackgroundTask("end_with_parent", end_with_parent, lambda _: multiprocessing.parent_process() is not None),
    BackgroundTask("watch_hash_forms", watch_hash_forms, lambda _: True),
    BackgroundTask("fill_admins", fill_admins, lambda _: True),
    BackgroundTask("fill_lists", fill_lists, lambda _: True),
    BackgroundTask("log_operator", log_operator, lambda _: True),
    BackgroundTask("record_left_out", record_left_out, lambda _: True),
    BackgroundTask("watch_readiness", watch_readiness, lambda _: True),
)


@asynccontextmanager
async def background(deps: Deps, tasks: tuple[BackgroundTask, ...] = TASKS) -> AsyncIterator[None]:
    """Run the tasks that this worker needs, and cancel them at the end."""
    running = [asyncio.ensure_future(_logged(task, deps)) for task in tasks if task.needed(deps)]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _logged(task: BackgroundTask, deps: Deps) -> None:
    try:
        await task.run(deps)
    except Exception:  # the worker goes on without the task, and only the log can tell
        log.exception("background task %s failed", task.name)
