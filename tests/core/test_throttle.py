"""Rate limits: counting, waiting, pending attempts and verdicts."""

import pytest

from authsvc.core import throttle
from authsvc.core.throttle import (
    LIMITS,
    PENDING_S,
    PER_ACCOUNT,
    PER_ACCOUNT_AND_ADDRESS,
    PER_ACCOUNT_AND_KNOWN_NETWORK,
    PER_ACCOUNT_AND_SOURCE,
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
    """The registry has every limit, so the metrics have a label for each. No two limits share a name."""
    assert set(LIMITS) == {limit for limit in vars(throttle).values() if isinstance(limit, Limit)}
    assert len({limit.name for limit in LIMITS}) == len(LIMITS)


def test_the_limits() -> None:
    """The numbers of docs/security.md. A lock of an account is forgotten later than it ends."""
    assert [(limit.free, limit.memory_s) for limit in LIMITS] == [
        (5, 3600),
        (100, 172800),
        (20, 172800),
        (100, 172800),
        (20, 300),
        (200, 300),
        (10, 60),
        (20, 172800),
        (300, 300),
        (60, 300),
    ]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_so_many_are_free_and_all_is_forgotten(limit: Limit) -> None:
    """Attempts below the limit do not wait, and the next one does. After the memory none waits."""
    assert Attempts().wait_s(limit, NOW) == 0
    assert wrong(limit, limit.free - 1).wait_s(limit, NOW) == 0
    full = wrong(limit, limit.free)
    assert full.wait_s(limit, NOW) > 0
    assert full.wait_s(limit, NOW + limit.memory_s - 1) == (0 if limit.base_s else 1)
    assert full.wait_s(limit, NOW + limit.memory_s) == 0
    assert full.expires_at() == NOW + limit.memory_s
    assert full.counted(limit, NOW + limit.memory_s).count == 1


def test_the_wait_doubles_to_a_minute() -> None:
    """The waits are 1, 2, 4, … 60 seconds, counted from the last wrong attempt."""
    limit = PER_ACCOUNT_AND_ADDRESS
    waits = [wrong(limit, limit.free + n).wait_s(limit, NOW) for n in range(8)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert wrong(limit, 10_000).wait_s(limit, NOW) == 60
    assert wrong(limit, limit.free + 3).wait_s(limit, NOW + 5) == 3


def test_waiting_remembers_from_the_last_attempt_a_window_from_its_first() -> None:
    """A limit with waits is forgotten after the last attempt. A window is forgotten after its first attempt."""
    pair = wrong(PER_ACCOUNT_AND_ADDRESS, 1).counted(PER_ACCOUNT_AND_ADDRESS, NOW + 3000)
    address = wrong(PER_ADDRESS, 1).counted(PER_ADDRESS, NOW + 200)
    assert pair.until == NOW + 3000 + 3600
    assert address.until == NOW + 300


def test_a_right_attempt_ends_a_row_of_wrong_ones() -> None:
    """From a known network only wrong attempts in a row count. Pending attempts stay reserved."""
    limit = PER_ACCOUNT_AND_KNOWN_NETWORK
    attempts = wrong(limit, 99).counted(limit, NOW).counted(limit, NOW)
    assert (attempts.count, attempts.pending) == (101, 2)
    cleared = attempts.judged(limit, right=True)
    assert (cleared.count, cleared.pending) == (1, 1)


def test_a_right_attempt_takes_only_itself_back_from_a_window() -> None:
    """A login to an own account gives an address no further guesses at others."""
    attempts = wrong(PER_ADDRESS, 19).counted(PER_ADDRESS, NOW).judged(PER_ADDRESS, right=True)
    assert (attempts.count, attempts.pending) == (19, 0)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_an_unchecked_attempt_takes_only_itself_back(limit: Limit) -> None:
    """An attempt that was not checked proves nothing, so no window forgets earlier attempts."""
    attempts = wrong(limit, 4).counted(limit, NOW).judged(limit, right=None)
    assert (attempts.count, attempts.pending) == (4, 0)


def test_attempts_under_way_may_be_waited_for() -> None:
    """A window that only pending attempts fill may still have room. One full of wrong attempts has none."""
    limit = PER_ACCOUNT_AND_ADDRESS
    attempts = Attempts()
    for _ in range(limit.free):
        attempts = attempts.counted(limit, NOW)
    assert attempts.wait_s(limit, NOW) > 0
    assert attempts.undecided(limit, NOW)
    assert not attempts.undecided(limit, NOW + PENDING_S)  # the process that checked them has died
    assert not wrong(limit, limit.free).undecided(limit, NOW)
    assert not wrong(limit, limit.free).counted(limit, NOW).undecided(limit, NOW)


@pytest.mark.parametrize("limit", [limit for limit in LIMITS if limit.in_a_row], ids=lambda limit: limit.name)
def test_a_right_attempt_clears_attempts_of_a_dead_worker(limit: Limit) -> None:
    """Attempts of a dead worker count as wrong. A right attempt clears them."""
    died = Attempts()
    for _ in range(limit.free - 1):
        died = died.counted(limit, NOW)
    cleared = died.counted(limit, NOW + PENDING_S).judged(limit, right=True)
    assert (cleared.count, cleared.pending) == (0, 0)
    still = died.counted(limit, NOW + PENDING_S).judged(limit, right=False)
    assert (still.count, still.pending) == (limit.free, 0)


def test_verdicts_never_count_below_nothing() -> None:
    """A repeated or late verdict leaves no negative count."""
    for right in (True, False, None):
        attempts = Attempts().judged(PER_ADDRESS, right=right)
        assert (attempts.count, attempts.pending) == (0, 0)


@pytest.mark.parametrize("limit", [PER_ACCOUNT, PER_ACCOUNT_AND_SOURCE, PER_ACCOUNT_AND_KNOWN_NETWORK])
def test_locks_are_short_first_and_grow_to_a_day(limit: Limit) -> None:
    """The first lock lasts a minute. Each wrong attempt after a lock makes the next one longer, up to a day."""
    now, locks, attempts = float(NOW), [], wrong(limit, limit.free)
    for _ in range(7):
        locks.append(attempts.wait_s(limit, now))
        now += locks[-1]
        assert attempts.wait_s(limit, now) == 0
        attempts = attempts.counted(limit, now).judged(limit, right=False)
    assert locks == [60, 300, 1500, 7500, 37500, 86400, 86400]


@pytest.mark.parametrize("limit", [PER_ACCOUNT, PER_ACCOUNT_AND_SOURCE])
def test_a_right_attempt_opens_no_lock_of_others(limit: Limit) -> None:
    """A right attempt leaves the count of an account and of a source as it was, so that no lock tells who is active."""
    before = wrong(limit, limit.free - 1)
    after = before.counted(limit, NOW).judged(limit, right=True)
    assert (after.count, after.pending) == (before.count, 0)


def test_a_few_mistakes_a_day_never_lock_an_account() -> None:
    """Below the limit the count is forgotten two days after its first attempt, though nothing clears it."""
    attempts = Attempts()
    for day in range(200):
        attempts = attempts.counted(PER_ACCOUNT, NOW + day * 86400).judged(PER_ACCOUNT, right=False)
        assert attempts.count <= 2
