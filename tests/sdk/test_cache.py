"""Which answers the cache keeps, for how long, and which events drop them. The tests move the clock."""

import gc
from collections.abc import Callable
from math import inf

import pytest
from authsvc_sdk import clock
from authsvc_sdk.answers import INACTIVE, Active
from authsvc_sdk.cache import Cache, key_digest

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from tests.sdk.conftest import cache_with

Forward = Callable[[float], None]


def a_token() -> str:
    return tokens.new(Kind.ACCESS).text


def active(token: str, sub: str = "ada", client_id: str = "app") -> Active:
    return Active(sub=sub, client_id=client_id, session_id=token[4:16], exp=0, iat=0, auth_time=0)


@pytest.fixture
def cache(now: Forward) -> Cache:
    """A cache whose feed has just begun and is confirmed."""
    cache = cache_with(cache_max_age_s=100)
    cache.forget_all()
    cache.confirm(1000.0)
    return cache


def keep(cache: Cache, token: str, until: float = inf, sub: str = "ada", client_id: str = "app") -> Active:
    answer = active(token, sub, client_id)
    cache.keep(token, answer, cache.mark(), until, until)
    return answer


def test_an_answer_is_kept(cache: Cache) -> None:
    """The cache returns an answer for its own token only."""
    token = a_token()
    answer = keep(cache, token)
    assert cache.get(token) is answer
    assert cache.get(a_token()) is None


def test_silence_stops_the_cache_at_once(cache: Cache, now: Forward) -> None:
    """The cache stops two seconds after the last confirmation, and answers again after the next."""
    token = a_token()
    keep(cache, token)
    now(1.999)
    assert cache.get(token)
    now(0.001)
    assert cache.get(token) is None
    cache.confirm(1002.0)
    assert cache.get(token)


def test_a_late_confirmation_proves_nothing_about_now(cache: Cache, now: Forward) -> None:
    """A confirmation counts from the moment that it confirms."""
    token = a_token()
    keep(cache, token)
    now(30)
    cache.confirm(1001.0)
    assert cache.get(token) is None


@pytest.mark.parametrize("key", ["session:{}", "user:{{ada}}", "client:app", "client:backend", "service"])
def test_a_change_of_each_key_drops_the_answer(cache: Cache, key: str) -> None:
    """An answer depends on its session, its user, its client, the client that asks, and the service."""
    token = a_token()
    keep(cache, token)
    cache.forget([key_digest("user:{somebody else}")])
    assert cache.get(token)
    cache.forget([key_digest(key.format(token[4:16]))])
    assert cache.get(token) is None


def test_a_change_during_the_question_wins(cache: Cache) -> None:
    """The cache refuses an answer if one of its keys changed after the request was sent."""
    token, other = a_token(), a_token()
    mark = cache.mark()
    cache.forget([key_digest("user:{ada}")])
    cache.keep(token, active(token), mark, inf, inf)
    cache.keep(other, active(other, sub="grace"), mark, inf, inf)
    assert cache.get(token) is None
    assert cache.get(other)
    keep(cache, token)
    assert cache.get(token)


def test_a_change_that_concerns_many(now: Forward) -> None:
    """A change of a client with many sessions empties the cache, which then keeps only answers to later requests."""
    cache = cache_with(cache_size=5000)
    cache.forget_all()
    cache.confirm(1000.0)
    kept = [a_token() for _ in range(3000)]
    for token in kept:
        keep(cache, token)
    mark, late = cache.mark(), a_token()
    cache.forget([key_digest("client:app"), key_digest("user:{ada}")])
    assert not any(map(cache.get, kept))
    cache.keep(late, active(late), mark, inf, inf)
    assert cache.get(late) is None
    keep(cache, late)
    assert cache.get(late)


def test_an_inactive_answer_depends_on_its_session(cache: Cache) -> None:
    """The cache refuses an inactive answer too if its session changed after the request was sent."""
    token = a_token()
    mark = cache.mark()
    cache.forget([key_digest(f"session:{token[4:16]}")])
    cache.keep(token, INACTIVE, mark, inf, inf)
    assert cache.get(token) is None


@pytest.mark.parametrize("doubt", ["forget_all", "disconnect"])
def test_doubt_during_the_question_wins(cache: Cache, doubt: str) -> None:
    """The cache refuses the answer to a request from before the stream began."""
    token = a_token()
    mark = cache.mark()
    getattr(cache, doubt)()
    cache.keep(token, active(token), mark, inf, inf)
    cache.forget_all()
    cache.confirm(1000.0)
    cache.keep(token, active(token), mark, inf, inf)
    assert cache.get(token) is None


def test_more_changes_than_are_remembered(cache: Cache) -> None:
    """The cache refuses an answer whose keys may have changed among the changes it has forgotten."""
    token = a_token()
    mark = cache.mark()
    cache.forget([key_digest("user:{ada}")])
    for number in range(200):
        cache.forget([f"{number}-{at}" for at in range(100)])
    cache.keep(token, active(token), mark, inf, inf)
    assert cache.get(token) is None
    keep(cache, token)
    assert cache.get(token)


def test_without_a_feed_nothing_is_used_or_kept(cache: Cache) -> None:
    """When the feed ends, the cache stops at once and keeps no further answers."""
    token, other = a_token(), a_token()
    keep(cache, token)
    cache.disconnect()
    keep(cache, other)
    assert cache.get(token) is None
    cache.forget_all()
    cache.confirm(1000.0)
    assert cache.get(token) is None
    assert cache.get(other) is None


def test_deadlines(cache: Cache, now: Forward) -> None:
    """The cache uses an answer until its deadline or the maximum age, and an inactive one for half a minute."""
    short, long, no = a_token(), a_token(), a_token()
    keep(cache, short, until=1010)
    keep(cache, long)
    cache.keep(no, INACTIVE, cache.mark(), inf, inf)
    for seconds, alive in [(9.9, {short, long, no}), (0.2, {long, no}), (20, {long}), (69, {long}), (1, set())]:
        now(seconds)
        cache.confirm(clock.now())
        assert {token for token in (short, long, no) if cache.get(token) is not None} == alive


def test_the_cache_is_bounded(cache: Cache) -> None:
    """A full cache drops unused answers together with their index entries."""
    used = a_token()
    keep(cache, used, sub="used")
    for number in range(1000):
        assert cache.get(used)
        keep(cache, a_token(), sub=f"u{number}", client_id=f"c{number}")
    assert len(cache._active.entries) == 8
    assert len(cache._dependents) == 8 * 3


def test_made_up_tokens_push_nothing_out(cache: Cache) -> None:
    """Inactive answers have a small part of the cache of their own."""
    token = a_token()
    keep(cache, token)
    for _ in range(1000):
        made_up = a_token()
        cache.keep(made_up, INACTIVE, cache.mark(), inf, inf)
    assert cache.get(token)
    assert cache.get(made_up) is INACTIVE
    assert len(cache._inactive.entries) == 1


def test_a_token_has_one_answer(cache: Cache) -> None:
    """A new inactive answer replaces the active answer of the token."""
    token = a_token()
    keep(cache, token)
    cache.keep(token, INACTIVE, cache.mark(), inf, inf)
    assert cache.get(token) is INACTIVE
    assert not cache._active.entries


@pytest.mark.parametrize("text", ["", "tok_", "\ud800", "é" * 49, "\x00"])
def test_any_text_can_be_looked_up(cache: Cache, text: str) -> None:
    """Looking up a text that is no token finds no answer."""
    assert cache.get(text) is None
    assert cache.get_stale(text) is None


def test_stale_is_off_by_default(cache: Cache, now: Forward) -> None:
    """Without `serve_stale_for_s` the cache serves no stale answer."""
    token = a_token()
    keep(cache, token)
    now(2)
    assert cache.get_stale(token) is None


def test_stale_is_bounded(now: Forward) -> None:
    """A stale answer is served for `serve_stale_for_s` after it last held, but not after its token has expired."""
    cache = cache_with(cache_max_age_s=100, serve_stale_for_s=60)
    cache.forget_all()
    cache.confirm(1000.0)
    token, ending, lapsed = a_token(), a_token(), a_token()
    keep(cache, token)
    keep(cache, ending, until=1030)
    cache.keep(lapsed, active(lapsed), cache.mark(), 990, inf)  # its deadline passed before the outage
    now(29)
    assert [cache.get(each) for each in (token, ending, lapsed)] == [None] * 3
    assert cache.get_stale(token)
    assert cache.get_stale(ending)
    assert cache.get_stale(lapsed)
    now(1)
    assert cache.get_stale(ending) is None
    now(20)
    assert cache.get_stale(lapsed) is None
    now(9.9)
    assert cache.get_stale(token)
    now(0.2)
    assert cache.get_stale(token) is None


@pytest.mark.parametrize("event", ["forget", "everything"])
def test_a_forgotten_answer_is_not_served_stale(now: Forward, event: str) -> None:
    """An answer that an event has dropped stays dropped during an outage."""
    cache = cache_with(cache_max_age_s=100, serve_stale_for_s=60)
    cache.forget_all()
    cache.confirm(1000.0)
    token = a_token()
    keep(cache, token)
    assert cache.get_stale(token)
    if event == "forget":
        cache.forget([key_digest("user:{ada}")])
    else:
        cache.forget_all()
    assert cache.get_stale(token) is None


def test_no_token_is_kept(cache: Cache) -> None:
    """The cache holds digests; no object in it is the text of a token."""
    token = a_token()
    keep(cache, token)
    reachable: set[int] = set()
    queue: list[object] = [cache.__dict__]
    while queue:
        thing = queue.pop()
        if id(thing) in reachable or isinstance(thing, type):
            continue
        reachable.add(id(thing))
        assert thing != token
        assert thing != token.encode()
        if not callable(thing):
            queue += gc.get_referents(thing)
    assert len(reachable) > 10
