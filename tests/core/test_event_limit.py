"""How many events of one user the audit trail keeps."""

from hypothesis import given
from hypothesis import strategies as st

from authsvc.core import event_limit
from authsvc.core.event import Entry, Event
from authsvc.core.event_limit import HOUR_S, MOST, MOST_ABOUT_NOBODY, TOO_MANY_SESSIONS, EventLimit, LeftOut


def entry(event: Event = Event.USER_CUT_OFF, actor: str = "user:ada", sub: str | None = "ada") -> Entry:
    return Entry(event=event, actor=actor, sub=sub)


def test_a_user_fills_no_more_than_the_bound() -> None:
    """The events of a user above the bound of an hour are left out and counted once; the next hour begins anew."""
    limit = EventLimit()
    for hour in (0, HOUR_S):
        assert [limit.admits(entry(), hour + 5) for _ in range(MOST + 7)] == [True] * MOST + [False] * 7
    assert limit.left_out(HOUR_S - 1) == []
    assert limit.left_out(HOUR_S) == [LeftOut("user:ada", "ada", 0, 7)]
    assert limit.left_out(HOUR_S) == []
    assert limit.left_out(2 * HOUR_S) == [LeftOut("user:ada", "ada", HOUR_S, 7)]


def test_others_are_not_bounded() -> None:
    """What an admin or the operator does, and what ended a session, is always kept."""
    limit = EventLimit()
    for one in (
        entry(actor="user:eve"),
        entry(actor="client:app"),
        entry(actor="operator"),
        entry(Event.SESSION_ENDED),
        entry(Event.TOKEN_REUSED, actor="anonymous"),
        entry(Event.PASSWORD_CHANGED),
    ):
        kept = [limit.admits(one, 5) for _ in range(MOST + 50)]
        assert all(kept), one
    assert limit.left_out(HOUR_S) == []


@given(st.lists(st.sampled_from(["ada", "bob", "eve"]), max_size=400))
def test_nothing_is_lost_from_the_count(subs: list[str]) -> None:
    """Events that were kept and events that were told as left out are all events, for each user."""
    limit = EventLimit()
    kept = [sub for sub in subs if limit.admits(entry(actor=f"user:{sub}", sub=sub), 5)]
    told = {sub: events for _, sub, _, events in limit.left_out(HOUR_S)}
    for sub in set(subs):
        assert kept.count(sub) + told.get(sub, 0) == subs.count(sub)


def test_memory_is_bounded() -> None:
    """A million users cannot fill the memory of a worker, and a user who is over the bound stays over it."""
    limit = EventLimit()
    for _ in range(MOST + 1):
        limit.admits(entry(), 5)
    for number in range(3 * event_limit._MAX_COUNTS):
        limit.admits(entry(actor="anonymous", sub=f"user{number}"), 5)
    assert len(limit._counts) <= event_limit._MAX_COUNTS
    assert not limit.admits(entry(), 5)


def test_strangers_and_issuing_clients_are_bounded() -> None:
    """Events about nobody have a bound of their own, and so have the tokens that a client issues for one user."""
    limit = EventLimit()
    nobody = entry(Event.LOGIN_FAILED, actor="anonymous", sub=None)
    assert sum([limit.admits(nobody, 5) for _ in range(MOST_ABOUT_NOBODY + 9)]) == MOST_ABOUT_NOBODY
    pushed_out = Entry(event=Event.SESSION_ENDED, actor="client:app", sub="ada", reason=TOO_MANY_SESSIONS)
    for one in (entry(Event.TOKEN_ISSUED, actor="client:app"), pushed_out):
        limit = EventLimit()
        assert sum([limit.admits(one, 5) for _ in range(MOST + 9)]) == MOST
