"""Moments of the service's clock in ours."""

from math import floor

from hypothesis import given
from hypothesis import strategies as st

from authsvc.sdk.server_clock import ServerClock


@given(
    st.floats(-1e6, 1e6),
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 2), st.floats(0, 3)), min_size=1, max_size=20),
)
def test_a_deadline_is_never_put_too_late(ahead: float, answers: list[tuple[float, float, float]]) -> None:
    """However old a `Date` is (up to two seconds) and however long an answer takes, the moment is not overshot."""
    clock, ours = ServerClock(), 0.0
    for wait, age, took in answers:
        ours += wait + took
        clock.observe(ours - took + ahead - age, ours)
        deadline = ours + 60  # in our clock
        assert clock.ours(floor(deadline + ahead), took) <= deadline + 1e-6


def test_an_old_date_does_not_count() -> None:
    """A server that was stopped for half a minute shows the old time for a moment; we know better."""
    clock = ServerClock()
    clock.observe(500, 0)
    clock.observe(501, 31)
    assert clock.ours(540, 0) == 38


def test_a_clock_that_is_set_back_is_believed_in_the_end() -> None:
    """After ten minutes an earlier time is no accident."""
    clock = ServerClock()
    clock.observe(5000, 0)
    clock.observe(1300, 300)
    assert clock.ours(1320, 0) < 0
    clock.observe(1601, 601)
    assert clock.ours(1620, 0) == 618
