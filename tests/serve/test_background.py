"""The background tasks of a worker run as long as the worker, and a task that fails is logged."""

import asyncio
import logging
from typing import cast

import pytest

from authsvc.flows.deps import Deps
from authsvc.serve.background import BackgroundTask, background

NO_DEPS = cast(Deps, None)


def needed(_: Deps) -> bool:
    return True


async def test_tasks_end_with_the_worker() -> None:
    """A task that is needed runs meanwhile, and has ended afterwards."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def run(_: Deps) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with background(NO_DEPS, (BackgroundTask("a test's", run, needed),)):
        await begun.wait()
        assert not ended.is_set()
    assert ended.is_set()


async def test_a_task_that_is_not_needed_does_not_run() -> None:
    """`needed` decides for each worker."""
    runs = []

    async def run(_: Deps) -> None:
        runs.append(1)

    async with background(NO_DEPS, (BackgroundTask("a test's", run, lambda _: False),)):
        await asyncio.sleep(0)
    assert not runs


async def test_a_failure_is_logged_and_the_worker_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the task that failed."""
    failed = asyncio.Event()

    async def run(_: Deps) -> None:
        failed.set()
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR):
        async with background(NO_DEPS, (BackgroundTask("a test's", run, needed),)):
            await failed.wait()
            await asyncio.sleep(0)
    assert "background task a test's failed" in caplog.text
