"""Waiting gives the body of the loop a last round after the last pause, and ends."""

import time

import pytest

from authsvc.waiting import until


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the waiting code sees. A pause moves it on, and takes no time."""
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    async def async_pause(seconds: float) -> None:
        pause(seconds)

    monkeypatch.setattr("authsvc.waiting.time.monotonic", lambda: now[0])
    monkeypatch.setattr("authsvc.waiting.time.sleep", pause)
    monkeypatch.setattr("authsvc.waiting.asyncio.sleep", async_pause)
    return now


def test_rounds_go_on_until_the_time_is_over(clock: list[float]) -> None:
    """The last round begins at the end, not one pause before it."""
    assert [clock[0] for _ in until(1.0, pause_s=0.25)] == [0.0, 0.25, 0.5, 0.75, 1.0]


async def test_asynchronous_rounds_are_the_same(clock: list[float]) -> None:
    """Both kinds of code wait equally long."""
    assert [clock[0] async for _ in until(1.0, pause_s=0.25)] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_there_is_always_one_round(clock: list[float]) -> None:
    """A wait of no time still tries once."""
    assert len(list(until(0.0))) == 1


def test_a_slow_round_uses_up_the_time(clock: list[float]) -> None:
    """The time of the rounds counts, not only that of the pauses."""
    rounds = 0
    for _ in until(1.0, pause_s=0.25):
        rounds += 1
        clock[0] += 2.0
    assert rounds == 1


def test_an_early_success_waits_no_longer() -> None:
    """Leaving the loop ends the wait."""
    began = time.monotonic()
    for _ in until(3600.0, pause_s=1800.0):
        break
    assert time.monotonic() - began < 1800.0
