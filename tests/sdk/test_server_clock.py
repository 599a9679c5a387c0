"""Converting moments of the service's clock to ours."""

from math import floor

from authsvc_sdk.server_clock import ServerClock
from hypothesis import given
from hypothesis import strategies as st


@given(
    st.floats(-1e6, 1e6),
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 2), st.floats(0, 3)), min_size=1, max_size=20),
)
def test_a_deadline_is_never_put_too_late(ahead: float, answers: list[tuple[float, float, float]]) -> None:
    """A converted deadline is never too late, for a `Date` of up to two seconds ago and an answer of any duration."""
    clock, ours = ServerClock(), 0.0
    for wait, age, took in answers:
        ours += wait + took
        clock.observe(ours - took + ahead - age, ours)
        deadline = ours + 60  # in our clock
        assert clock.ours(floor(deadline + ahead), took) <= deadline + 1e-6


def test_an_old_date_does_not_count() -> None:
    """The old `Date` of a server that was stopped for half a minute does not change the estimate."""
    clock = ServerClock()
    clock.observe(500, 0)
    clock.observe(501, 31)
    assert clock.ours(540, 0) == 38


def test_a_clock_that_is_set_back_is_believed_in_the_end() -> None:
    """After ten minutes the estimate follows a clock that was set back."""
    clock = ServerClock()
    clock.observe(5000, 0)
    clock.observe(1300, 300)
    assert clock.ours(1320, 0) < 0
    clock.observe(1601, 601)
    assert clock.ours(1620, 0) == 618
