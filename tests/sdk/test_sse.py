"""Parsing server-sent events: however a stream is written and cut, its events are the same."""

from itertools import pairwise

import pytest
from authsvc_sdk.sse import EventParser, EventTooLarge
from hypothesis import example, given
from hypothesis import strategies as st

LIMIT = 1000
Event = tuple[str, list[str]]

text = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
names = text.filter(lambda name: name.strip() != "")
events = st.lists(st.tuples(names, st.lists(text, max_size=3)), max_size=5)
noise = st.sampled_from(["", ": comment", ":", "id: 7", "retry: 100", "retry", "news: 1", "datas: x", " data: x"])


def parse(*chunks: bytes) -> list[tuple[str, str]]:
    parser = EventParser(LIMIT)
    return [event for chunk in chunks for event in parser.feed(chunk)]


def write(draw: st.DrawFn, listed: list[Event]) -> bytes:
    """One of the many ways to write these events."""
    stream = draw(st.sampled_from(["", "\ufeff"]))
    for name, data in listed:
        fields = [("data", value) for value in data]
        fields.insert(draw(st.integers(0, len(fields))), ("event", name))
        lines = []
        for field, value in fields:
            lines += [line for line in draw(st.lists(noise, max_size=2)) if line]
            # Only a value that begins with a space needs the space after the colon, and an empty value no colon.
            spaced = value.startswith(" ") or draw(st.booleans())
            bare = value == "" and draw(st.booleans())
            lines.append(field if bare else f"{field}:{' ' if spaced else ''}{value}")
        end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
        stream += "".join(line + end for line in [*lines, ""]) + draw(st.sampled_from(["", ": ping" + end, end]))
    return stream.encode()


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Event], list[bytes]]:
    """Events, and a stream of them in chunks."""
    listed = draw(events)
    stream = write(draw, listed)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return listed, [stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])]


@given(streams())
def test_any_writing_and_any_cutting(stream: tuple[list[Event], list[bytes]]) -> None:
    """Spaces, line ends, comments, other fields and the cuts of the network change no event."""
    listed, chunks = stream
    assert parse(*chunks) == [(name, "\n".join(data)) for name, data in listed]


@given(streams())
def test_byte_by_byte(stream: tuple[list[Event], list[bytes]]) -> None:
    """A stream that arrives byte by byte has the same events."""
    listed, chunks = stream
    single = [bytes([byte]) for byte in b"".join(chunks)]
    assert parse(*single) == [(name, "\n".join(data)) for name, data in listed]


@given(st.lists(st.binary(max_size=20)))
@example([b"event:a\r", b"", b"\ndata:1\r\n\r\n"])
def test_cutting_never_matters(chunks: list[bytes]) -> None:
    """For any bytes the events are those of the whole, or the error is."""

    def outcome(*pieces: bytes) -> object:
        try:
            return parse(*pieces)
        except UnicodeDecodeError:
            return "broken"

    assert outcome(*chunks) == outcome(b"".join(chunks))


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"event:a\ndata:1\n\n", [("a", "1")]),
        (b"event: a\ndata: 1\ndata: 2\n\n", [("a", "1\n2")]),
        (b"event: a\ndata:  1 \n\n", [("a", " 1 ")]),
        (b"data: 1\nevent: a\nevent: b\n\n", [("b", "1")]),
        (b"event: a\rdata: 1\r\r", [("a", "1")]),
        (b"\xef\xbb\xbfevent: a\ndata: 1\n\n", [("a", "1")]),
        (b"event: a\n\xef\xbb\xbfdata: 1\ndata: 2\n\n", [("a", "2")]),
        (b": comment\n\nevent: a\ndata\n\n", [("a", "")]),
        (b"event: a\nid: 7\nretry: 5\nnews: x\ndata: 1\n\n", [("a", "1")]),
        (b"data: 1\n\nevent: a\ndata: 2\n\n", [("a", "2")]),
        (b"event: a\n\n", [("a", "")]),
        (b"event: a\ndata: 1\n", []),
        (b"event: a\ndata: 1\n\nevent: b\ndata: 2", [("a", "1")]),
        ("event: a\ndata: é\u2028\x85x\n\n".encode(), [("a", "é\u2028\x85x")]),
    ],
)
def test_what_the_standard_says(stream: bytes, expected: list[tuple[str, str]]) -> None:
    """The space after the colon is optional, `data` lines add up, and an event ends with an empty line."""
    assert parse(stream) == expected


def test_an_event_is_complete_at_its_last_line_end() -> None:
    """A stream with CR as line end needs no further byte before an event is returned."""
    assert parse(b"event: a\rdata: 1\r\r") == [("a", "1")]


@pytest.mark.parametrize(
    "piece", [b"x" * 100, b"data: " + b"x" * 94 + b"\n", b": " + b"x" * 98, b"data: " + b"x" * 2000 + b"\n\n"]
)
def test_an_event_is_bounded(piece: bytes) -> None:
    """A line or an event that does not end takes a bounded part of the memory."""
    with pytest.raises(EventTooLarge):
        parse(*[piece] * 20)


def test_comments_are_unlimited() -> None:
    """A proxy may send comments for as long as it likes between two lines of an event."""
    chunks = [b"event: a\n", *[b": ping\n"] * 1000, b"data: 1\n\n"]
    assert parse(*chunks) == [("a", "1")]
