"""How a stream of changes confirms the cache. The tests move the clock."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from math import inf

import pytest
from authsvc_sdk import clock
from authsvc_sdk.answers import Active
from authsvc_sdk.cache import key_digest
from authsvc_sdk.feed import BrokenFeed, Feed

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from tests.sdk.conftest import cache_with

Forward = Callable[[float], None]


def event(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def everything(at: float) -> bytes:
    return event("everything", {"at": at * 1000})


def heartbeat(at: float) -> bytes:
    return event("heartbeat", {"at": at * 1000})


class Kept:
    """A cache with one token in it, and the feed that confirms it."""

    def __init__(self) -> None:
        self.cache = cache_with(cache_max_age_s=1e9)
        self.token = tokens.new(Kind.ACCESS).text
        self.feed = Feed(self.cache, clock.now(), 2)

    def begin(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self.feed.receive(chunk)
        self.keep()

    def keep(self) -> None:
        handle = self.token[4:16]
        active = Active(sub="ada", client_id="app", session_id=handle, exp=0, iat=0, auth_time=0)
        self.cache.keep(self.token, active, self.cache.mark(), inf, inf)

    @property
    def used(self) -> bool:
        return self.cache.get(self.token) is not None


@pytest.fixture
def kept(now: Forward) -> Kept:
    return Kept()


def test_a_heartbeat_is_needed(kept: Kept) -> None:
    """The cache answers after the first heartbeat of a stream, and not before."""
    kept.begin(everything(7))
    assert not kept.used
    kept.feed.receive(heartbeat(7))
    assert kept.used


def test_a_heartbeat_counts_from_when_it_was_sent(kept: Kept, now: Forward) -> None:
    """Heartbeats on a delayed stream do not confirm the present, though they arrive each second."""
    kept.begin(everything(7), heartbeat(7))
    now(5)  # from here on the network delays everything by five seconds
    for second in range(1, 4):
        kept.feed.receive(heartbeat(7 + second))
        assert not kept.used
        now(1)


def test_a_backlog_is_read_in_order(kept: Kept, now: Forward) -> None:
    """A process that was stopped reads the queued changes before the heartbeat that confirms the present."""
    kept.begin(everything(7), heartbeat(7))
    now(30)
    assert not kept.used
    changed = event("forget", [key_digest(f"session:{kept.token[4:16]}")])
    kept.feed.receive(b"".join(map(heartbeat, range(8, 20))) + changed + b"".join(map(heartbeat, range(20, 37))))
    assert not kept.used
    kept.feed.receive(heartbeat(37))
    assert not kept.used
    kept.keep()
    assert kept.used


def test_a_slow_beginning_errs_on_the_safe_side(kept: Kept, now: Forward) -> None:
    """A stream that took three seconds to begin may be three seconds late for ever, so it breaks."""
    now(3)
    kept.begin(everything(7), heartbeat(7))
    for second in range(1, 5):
        now(1)
        kept.feed.receive(heartbeat(7 + second))
        assert not kept.used
    now(1)
    with pytest.raises(BrokenFeed):
        kept.feed.receive(heartbeat(12))


@pytest.mark.parametrize("rate", [0.9999, 1.0001])
def test_clocks_may_drift(kept: Kept, now: Forward, rate: float) -> None:
    """If the sender's clock runs fast or slow, the cache stops within the bound, and the stream breaks if need be."""
    kept.begin(everything(0), heartbeat(0))
    theirs = 0.0
    with pytest.raises(BrokenFeed) if rate < 1 else nullcontext():
        for _ in range(20_000):
            now(1)
            theirs += rate
            kept.feed.receive(heartbeat(theirs))
            assert kept.used
    now(2.0)
    assert not kept.used


def test_heartbeats_without_a_time_prove_nothing(kept: Kept) -> None:
    """A feed without times never confirms the cache."""
    kept.begin(event("everything", {}), event("heartbeat", {}))
    assert not kept.used


def test_everything_in_the_middle(kept: Kept) -> None:
    """A second `everything` empties the cache."""
    kept.begin(everything(7), heartbeat(7))
    kept.feed.receive(everything(8))
    kept.feed.receive(heartbeat(8))
    assert not kept.used


@pytest.mark.parametrize(
    "said",
    [
        heartbeat(1),
        event("forget", []),
        everything(1) + b"event: forget\ndata: {\n\n",
        everything(1) + event("forget", {}),
        everything(1) + event("forget", [[]]),
        everything(1) + b"event: heartbeat\n\n",
        b"\xff\n\n" + everything(1),
        b"x" * 2_000_000,
    ],
)
def test_nonsense_breaks_the_stream(kept: Kept, said: bytes) -> None:
    """A malformed event breaks the stream, because it could have been a change."""
    with pytest.raises(BrokenFeed):
        kept.feed.receive(said)


def test_unknown_events_are_ignored(kept: Kept) -> None:
    """Comments, and events of later versions of the service, do not break the stream."""
    kept.begin(b": hello\n\n", everything(1), event("news", [1]), b"id: 7\n\n", heartbeat(1))
    assert kept.used


def test_a_stream_that_a_proxy_has_rewritten(kept: Kept) -> None:
    """Comments, other line ends, missing spaces and single bytes change nothing."""
    stream = b"\xef\xbb\xbf" + everything(1) + b": ping\r\n\r\n" + heartbeat(1).replace(b": ", b":", 2)
    kept.begin(*(bytes([byte]) for byte in stream.replace(b"\n", b"\r\n").replace(b"\r\r", b"\r")))
    assert kept.used
    changed = json.dumps([key_digest("user:{ada}"), "x"], indent=1)
    kept.feed.receive(b"event:forget\r" + b"".join(f"data:{line}\r".encode() for line in changed.split("\n")) + b"\r")
    assert not kept.used
