"""Attempt windows in the store: counted exactly, in all of them or in none."""

import asyncio
from collections.abc import Sequence

import pytest
import redis

from authsvc.core.throttle import PER_ACCOUNT, PER_ADDRESS, Attempts
from authsvc.errors import TooManyAttempts
from authsvc.flows.deps import Deps
from authsvc.store.encoding import load
from authsvc.store.throttle import Throttle, Window
from authsvc.store.turns import Turns
from tests.conftest import Clock

ACCOUNT, ADDRESS = Window(PER_ACCOUNT, "ada"), Window(PER_ADDRESS, "192.0.2.1")


def held(valkey: "redis.Redis", window: Window) -> Attempts:
    raw = valkey.get(window.key)
    assert raw is None or isinstance(raw, bytes)
    return Attempts() if raw is None else load(Attempts, raw)


async def wrong(deps: Deps, clock: Clock, *windows: Window) -> None:
    await settle_wrong(deps.store.throttle, clock, *windows)


async def settle_wrong(throttle: Throttle, clock: Clock, *windows: Window) -> None:
    attempt = await throttle.reserve(windows, clock())
    await throttle.settle(attempt, right=False)


async def test_parallel_attempts_are_counted_exactly(deps: Deps, clock: Clock, valkey: "redis.Redis") -> None:
    """Of many attempts at once, each is counted once and judged once."""
    await asyncio.gather(*(wrong(deps, clock, ACCOUNT, ADDRESS) for _ in range(15)))
    for window in (ACCOUNT, ADDRESS):
        assert (held(valkey, window).count, held(valkey, window).pending) == (15, 0)


async def test_a_window_that_fills_up_meanwhile_takes_back_the_others(
    deps: Deps, clock: Clock, valkey: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that the second window refuses leaves the first window as it was, with its earlier wrong guesses."""
    throttle = deps.store.throttle
    for _ in range(3):
        await wrong(deps, clock, ACCOUNT)
    read = throttle._read

    async def overtaken(windows: Sequence[Window]) -> dict[Window, bytes | None]:
        found = await read(windows)
        monkeypatch.setattr(throttle, "_read", read)
        for _ in range(PER_ADDRESS.free):  # attempts at another worker, between the read and the write
            await settle_wrong(Throttle(deps.store.connection, Turns(10)), clock, ADDRESS)
        return found

    monkeypatch.setattr(throttle, "_read", overtaken)
    with pytest.raises(TooManyAttempts):
        await throttle.reserve([ACCOUNT, ADDRESS], clock())
    assert (held(valkey, ACCOUNT).count, held(valkey, ACCOUNT).pending) == (3, 0)
    assert (held(valkey, ADDRESS).count, held(valkey, ADDRESS).pending) == (PER_ADDRESS.free, 0)


async def test_windows_expire_with_what_they_remember(deps: Deps, clock: Clock, valkey: "redis.Redis") -> None:
    """The key expires with the attempts in it, and holds neither name nor address."""
    await wrong(deps, clock, ACCOUNT, ADDRESS)
    assert valkey.pexpiretime(ACCOUNT.key) == (int(clock()) + 2 * 86400) * 1000
    assert valkey.pexpiretime(ADDRESS.key) == (int(clock()) + 300) * 1000
    assert "ada" not in ACCOUNT.key
    assert "192.0.2.1" not in ADDRESS.key
