"""The service, and a proxy between it and its store that breaks connections on demand."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from authsvc.composition import open_deps
from authsvc.driver.timeouts import Timeouts
from authsvc.settings import Settings
from authsvc.web import leaked
from tests.conftest import CHEAP, Clock
from tests.outages.proxy import Proxy
from tests.outages.world import MAX_SESSIONS, World, fresh


@pytest.fixture
async def proxy(valkey: "redis.Redis", valkey_url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of the shared store, which is empty."""
    with tempfile.TemporaryDirectory(prefix="authsvc-proxy-") as directory:
        async with Proxy(Path(directory) / "s", valkey_url) as proxy:
            yield proxy


@pytest.fixture
def grace_s() -> int:
    return 10


@pytest.fixture
def timeouts() -> Timeouts:
    """Those of production. A module whose tests are not about time overrides this with PATIENT."""
    return Timeouts()


@pytest.fixture
async def world(
    proxy: Proxy,
    valkey: "redis.Redis",
    clock: Clock,
    grace_s: int,
    timeouts: Timeouts,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[World]:
    settings = Settings(**CHEAP, max_sessions=MAX_SESSIONS, refresh_grace_s=grace_s)
    async with open_deps(settings, proxy.url, clock, timeouts=timeouts) as deps:
        world = await fresh(deps, clock, valkey)
        monkeypatch.setattr(leaked, "STEP_S", 0.001)  # no test here is about the time of these answers
        try:
            yield world
        finally:
            await world.http.aclose()
