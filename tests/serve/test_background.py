"""The background tasks of a worker run as long as the worker, and a task that fails is logged."""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

import pytest
import redis

from authsvc.composition import open_deps
from authsvc.flows.deps import Deps
from authsvc.ops.fitness import EVICTING
from authsvc.serve.background import TASKS, BackgroundTask, background
from authsvc.settings import Settings
from authsvc.waiting import until
from tests.conftest import CHEAP

NO_DEPS = cast(Deps, None)
TASK = {task.name: task for task in TASKS}


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


async def eventually(done: Callable[[], bool]) -> None:
    async for _ in until(30, pause_s=0.01):
        if done():
            return
    raise AssertionError("not within the deadline")


async def test_each_change_of_readiness_is_logged_once(
    deps: Deps, valkey: "redis.Redis", caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that becomes unfit, and fit again, is a line each, and not one for each look."""
    monkeypatch.setattr("authsvc.serve.background.READINESS_S", 0.01)
    monkeypatch.setattr("authsvc.ops.fitness.FRESH_S", 0)

    def lines() -> list[str]:
        return [line for line in caplog.messages if "ready" in line]

    try:
        with caplog.at_level(logging.INFO):
            async with background(deps, (TASK["watch_readiness"],)):
                await eventually(lambda: deps.metrics.ready.value() == 1)
                assert lines() == []
                for _ in range(2):
                    valkey.config_set("maxmemory-policy", "allkeys-lru")
                    await eventually(lambda: deps.metrics.ready.value() == 0)
                    valkey.config_set("maxmemory-policy", "noeviction")
                    await eventually(lambda: deps.metrics.ready.value() == 1)
    finally:
        valkey.config_set("maxmemory-policy", "noeviction")
    assert lines() == [f"not ready: {EVICTING.text}", "ready again"] * 2


def test_readiness_is_watched_without_metrics(deps: Deps) -> None:
    """The log needs it."""
    assert deps.settings.metrics_port is None
    assert TASK["watch_readiness"].needed(deps)


async def test_an_outage_is_one_line_about_the_forms_of_hashes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver tells the outage; this task does not repeat it."""
    monkeypatch.setattr("authsvc.serve.background.HASH_FORMS_S", 0.01)
    async with (
        open_deps(Settings(**CHEAP), "unix:///nowhere/store.sock") as deps,
        background(deps, (TASK["watch_hash_forms"],)),
    ):
        await eventually(lambda: deps.metrics.store_errors.value("connection") >= 5)
    assert len([line for line in caplog.messages if "were not counted" in line]) == 1
