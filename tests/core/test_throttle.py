"""Counting attempts: limits, waiting, attempts under way, verdicts."""

import pytest

from authsvc.core import throttle
from authsvc.core.throttle import (
    LIMITS,
    PENDING_S,
    PER_ACCOUNT,
    PER_ACCOUNT_AND_ADDRESS,
    PER_ADDRESS,
    Attempts,
    Limit,
)
from tests.core.examples import NOW


def wrong(limit: Limit, times: int, now: float = NOW) -> Attempts:
    attempts = Attempts()
    for _ in range(times):
        attempts = attempts.counted(limit, now).judged(limit, right=False)
    return attempts


def test_every_limit_is_registered() -> None:
    """The metrics have a label for each limit, since the registry lists them all; no two share a name."""
    assert set(LIMITS) == {limit for limit in vars(throttle).values() if isinstance(limit, Limit)}
    assert len({limit.name for limit in LIMITS}) == len(LIMITS)


def test_the_limits_are_those_of_the_parameter_list() -> None:
    """5 for an account from one address, 100 for the account, 20 for an address in 5 minutes, 200 for its /48."""
    assert [(limit.free, limit.memory_s) for limit in LIMITS] == [
        (5, 3600),
        (100, 86400),
        (20, 300),
        (200, 300),
        (10, 60),
    ]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_so_many_are_free_and_all_is_forgotten(limit: Limit) -> None:
    """The attempts below the limit wait for nothing, the next one does, and after the memory there is none."""
    assert Attempts().wait_s(limit, NOW) == 0
    assert wrong(limit, limit.free - 1).wait_s(limit, NOW) == 0
    full = wrong(limit, limit.free)
    assert full.wait_s(limit, NOW) > 0
    assert full.wait_s(limit, NOW + limit.memory_s - 1) == (0 if limit.base_s else 1)
    assert full.wait_s(limit, NOW + limit.memory_s) == 0
    assert full.expires_at() == NOW + limit.memory_s
    assert full.counted(limit, NOW + limit.memory_s).count == 1


def test_the_wait_doubles_to_a_minute() -> None:
    """1, 2, 4, … seconds after each wrong attempt beyond the free ones, 60 at most, counted from the last one."""
    limit = PER_ACCOUNT_AND_ADDRESS
    waits = [wrong(limit, limit.free + n).wait_s(limit, NOW) for n in range(8)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert wrong(limit, 10_000).wait_s(limit, NOW) == 60
    assert wrong(limit, limit.free + 3).wait_s(limit, NOW + 5) == 3


def test_waiting_remembers_from_the_last_attempt_a_window_from_its_first() -> None:
    """Or whoever keeps guessing would be forgotten in the middle, or be kept out for ever."""
    pair = wrong(PER_ACCOUNT_AND_ADDRESS, 1).counted(PER_ACCOUNT_AND_ADDRESS, NOW + 3000)
    address = wrong(PER_ADDRESS, 1).counted(PER_ADDRESS, NOW + 200)
    assert pair.until == NOW + 3000 + 3600
    assert address.until == NOW + 300


def test_a_right_attempt_ends_a_row_of_wrong_ones() -> None:
    """For an account only wrong attempts in a row count; those still under way stay reserved."""
    limit = PER_ACCOUNT
    attempts = wrong(limit, 99).counted(limit, NOW).counted(limit, NOW)
    assert (attempts.count, attempts.pending) == (101, 2)
    cleared = attempts.judged(limit, right=True)
    assert (cleared.count, cleared.pending) == (1, 1)


def test_a_right_attempt_takes_only_itself_back_from_a_window() -> None:
    """Logging in to an own account must not buy an address more guesses at others."""
    attempts = wrong(PER_ADDRESS, 19).counted(PER_ADDRESS, NOW).judged(PER_ADDRESS, right=True)
    assert (attempts.count, attempts.pending) == (19, 0)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_an_attempt_that_was_never_looked_at_takes_only_itself_back(limit: Limit) -> None:
    """Nothing was proved, so nothing that was counted before is forgotten: in no window."""
    attempts = wrong(limit, 4).counted(limit, NOW).judged(limit, right=None)
    assert (attempts.count, attempts.pending) == (4, 0)


def test_attempts_under_way_may_be_waited_for() -> None:
    """A window full only of attempts being checked may yet have room; one full of wrong ones has none."""
    limit = PER_ACCOUNT_AND_ADDRESS
    attempts = Attempts()
    for _ in range(limit.free):
        attempts = attempts.counted(limit, NOW)
    assert attempts.wait_s(limit, NOW) > 0
    assert attempts.undecided(limit, NOW)
    assert not attempts.undecided(limit, NOW + PENDING_S)  # whoever checked them has died
    assert not wrong(limit, limit.free).undecided(limit, NOW)
    assert not wrong(limit, limit.free).counted(limit, NOW).undecided(limit, NOW)


@pytest.mark.parametrize("limit", [PER_ACCOUNT_AND_ADDRESS, PER_ACCOUNT], ids=lambda limit: limit.name)
def test_a_right_attempt_clears_what_nobody_will_judge(limit: Limit) -> None:
    """Attempts whose worker died count as wrong until somebody proves the secret, and not for as long as it is used."""
    died = Attempts()
    for _ in range(limit.free - 1):
        died = died.counted(limit, NOW)
    cleared = died.counted(limit, NOW + PENDING_S).judged(limit, right=True)
    assert (cleared.count, cleared.pending) == (0, 0)
    still = died.counted(limit, NOW + PENDING_S).judged(limit, right=False)
    assert (still.count, still.pending) == (limit.free, 0)


def test_verdicts_never_count_below_nothing() -> None:
    """A verdict that comes twice, after a lost reply, or after all was forgotten, leaves no negative count."""
    for right in (True, False, None):
        attempts = Attempts().judged(PER_ADDRESS, right=right)
        assert (attempts.count, attempts.pending) == (0, 0)
