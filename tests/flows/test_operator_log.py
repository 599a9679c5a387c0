"""The service's log has each event of the command line, once, whatever the number of workers."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from authsvc.composition import open_deps
from authsvc.errors import StoreUnavailable
from authsvc.flows import users
from authsvc.flows.deps import OPERATOR, Caller, Deps
from authsvc.flows.operator_log import write_operator_events
from authsvc.settings import Settings
from tests.conftest import PATIENT, Clock


@pytest.fixture
async def workers(deps: Deps, valkey_url: str, clock: Clock, settings: Settings) -> AsyncIterator[list[Deps]]:
    """Two workers of the service."""
    async with open_deps(settings, valkey_url, clock, timeouts=PATIENT) as other:
        yield [deps, other]


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "authsvc.audit"]


async def test_each_event_is_logged_once(workers: list[Deps], caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    """Of workers that look at the same time, one writes the lines. A line has the time of its event."""
    user, _ = await users.create(workers[0], OPERATOR, username="ada")
    await users.update(workers[0], OPERATOR, user.sub, status="suspended")
    happened_at = clock()
    assert await workers[1].store.operator_events.is_behind()  # and connects, so that both begin at the same time
    clock.forward(3600)
    caplog.set_level(logging.INFO)
    caplog.clear()
    for _ in range(3):
        await asyncio.gather(*(write_operator_events(worker) for worker in workers))
    assert logged(caplog) == ["user.created", "user.suspended"]
    (suspended,) = (record for record in caplog.records if record.getMessage() == "user.suspended")
    assert vars(suspended)["fields"]["sub"] == user.sub
    assert vars(suspended)["happened_at"] == happened_at


async def test_events_of_the_service_are_not_logged_again(deps: Deps, caplog: pytest.LogCaptureFixture) -> None:
    """What the service did itself is in its log already."""
    await users.create(deps, Caller("client:abc"), username="ada")
    caplog.set_level(logging.INFO)
    caplog.clear()
    await write_operator_events(deps)
    assert logged(caplog) == []
    assert not await deps.store.operator_events.is_behind()


async def test_a_worker_that_fails_leaves_the_events_to_the_next(
    workers: list[Deps], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that fails after the line was written causes a second line, not a missing one."""
    await users.create(workers[0], OPERATOR, username="ada")
    caplog.set_level(logging.INFO)
    caplog.clear()

    async def fail(_: str) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(workers[0].store.operator_events, "set_logged", fail)
    with suppress(StoreUnavailable):
        await write_operator_events(workers[0])
    await write_operator_events(workers[1])
    assert logged(caplog) == ["user.created", "user.created"]


async def test_no_worker_waits_for_a_dead_one_without_end(workers: list[Deps]) -> None:
    """The lease of a worker that was killed expires by itself."""
    await users.create(workers[0], OPERATOR, username="ada")
    assert await workers[0].store.operator_events.lease.take()
    assert not await workers[1].store.operator_events.lease.take()
    left = await workers[0].store.connection.call("PTTL", "admins:logging")
    assert 0 < left <= 30_000
