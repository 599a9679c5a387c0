"""Vectors of `GET /events`: how its bytes are parsed, and what the cache does with its events."""

import base64
import json
from collections.abc import Callable
from typing import Any

from authsvc_sdk.cache import key_digest
from authsvc_sdk.sse import EventParser

from tools.sdk_vectors.script import Script, event, play
from tools.sdk_vectors.shapes import HANDLE, OTHER, THIRD, TOKEN

_STREAMS: dict[str, bytes] = {
    "no space after the colon": b"event:a\ndata:1\n\n",
    "two lines of data": b"event: a\ndata: 1\ndata: 2\n\n",
    "only one space is removed": b"event: a\ndata:  1 \n\n",
    "the last name counts": b"data: 1\nevent: a\nevent: b\n\n",
    "carriage returns": b"event: a\rdata: 1\r\r",
    "carriage returns and line feeds": b"event: a\r\ndata: 1\r\n\r\n",
    "a byte order mark at the start": b"\xef\xbb\xbfevent: a\ndata: 1\n\n",
    "a byte order mark later": b"event: a\n\xef\xbb\xbfdata: 1\ndata: 2\n\n",
    "comments": b": comment\n\nevent: a\n:\ndata\n\n",
    "other fields": b"event: a\nid: 7\nretry: 5\nnews: x\ndata: 1\n\n",
    "an event without a name is ignored": b"data: 1\n\nevent: a\ndata: 2\n\n",
    "a named event without data counts": b"event: a\n\n",
    "an event without an end": b"event: a\ndata: 1\n",
    "one event and half of the next": b"event: a\ndata: 1\n\nevent: b\ndata: 2",
    "only CR and LF end a line": "event: a\ndata: é\u2028\x85x\n\n".encode(),
}


def events() -> dict[str, Any]:
    """Streams of bytes and the events in them. The bytes may arrive cut at any place."""
    return {
        "cases": [
            {
                "name": name,
                "base64": base64.b64encode(stream).decode(),
                "events": list(EventParser(1 << 20).feed(stream)),
            }
            for name, stream in _STREAMS.items()
        ]
    }


def a_heartbeat_is_needed(s: Script) -> None:
    s.open()
    s.everything()
    s.keep()
    s.check()
    s.wait(0.1)
    s.heartbeat()
    s.check()
    s.check(OTHER)


def silence(s: Script) -> None:
    s.begin()
    s.wait(1.999)
    s.check()
    s.wait(0.001)
    s.check()
    s.heartbeat(9)
    s.check()


def a_gap(s: Script) -> None:
    s.begin()
    for second in (1, 2):
        s.wait(1)
        s.heartbeat(7 + second)
    s.wait(3)
    s.check()
    s.heartbeat(9.5)  # it was sent long ago, and was on its way
    s.check()
    s.heartbeat(12)
    s.check()


def late_heartbeats(s: Script) -> None:
    s.begin()
    s.wait(5)  # from here on the network delays everything by five seconds
    for second in range(1, 7):
        s.heartbeat(7 + second)
        s.check()
        s.wait(1)


def slightly_late_heartbeats(s: Script) -> None:
    s.begin()
    for second in range(1, 10):
        s.wait(1)
        s.heartbeat(7 + second - 0.4)
        s.check()
    s.wait(1.6)
    s.check()


def a_slow_beginning(s: Script) -> None:
    s.open()
    s.wait(3)
    s.everything()
    s.keep()
    s.heartbeat()
    for second in range(1, 6):
        s.check()
        s.wait(1)
        s.heartbeat(7 + second)
    s.check()


def clocks(rate: float) -> Callable[[Script], None]:
    def write(s: Script) -> None:
        s.begin()
        for second in range(1, 21):
            s.wait(1)
            if s.steps[-1].get("broken"):
                break
            s.heartbeat(round(7 + second * rate, 6))
        s.wait(0.9)
        s.check()
        s.wait(1.1)
        s.check()

    return write


def heartbeats_out_of_order(s: Script) -> None:
    s.begin()
    s.wait(1)
    s.heartbeat(8)
    s.heartbeat(7.5)
    s.wait(1.5)
    s.check()


def a_process_that_was_stopped(s: Script) -> None:
    s.begin()
    s.wait(30)
    s.check()
    queued = "".join(event("heartbeat", {"at": at * 1000}) for at in range(8, 20))
    changed = event("forget", [key_digest(f"session:{HANDLE}")])
    s.receive(queued + changed + "".join(event("heartbeat", {"at": at * 1000}) for at in range(20, 37)))
    s.check()
    s.heartbeat(37)
    s.check()
    s.keep(active=False)
    s.check()


def no_times(s: Script) -> None:
    s.open()
    s.receive(event("everything", {}))
    s.keep()
    s.receive(event("heartbeat", {}))
    s.check()


def everything_again(s: Script) -> None:
    s.begin()
    s.wait(1)
    s.everything(8)
    s.check()
    s.heartbeat(8)
    s.check()
    s.keep()
    s.check()


def a_change_of(key: str) -> Callable[[Script], None]:
    def write(s: Script) -> None:
        s.begin()
        s.forget("user:{somebody else}", "client:another", "session:000000000009")
        s.check()
        s.forget(key)
        s.check()
        s.keep()
        s.check()

    return write


def a_change_of_one_user(s: Script) -> None:
    s.begin()
    s.keep(OTHER, sub="grace")
    s.forget("user:{ada}")
    s.check()
    s.check(OTHER)


def a_change_on_the_way(s: Script) -> None:
    s.open()
    s.everything()
    s.heartbeat()
    s.ask()
    s.ask(OTHER)
    s.forget("user:{ada}")
    s.answer()
    s.answer(sub="grace")
    s.check()
    s.check(OTHER)
    s.keep()
    s.check()


def an_inactive_answer_on_the_way(s: Script) -> None:
    s.open()
    s.everything()
    s.heartbeat()
    s.ask()
    s.forget(f"session:{HANDLE}")
    s.answer(active=False)
    s.check()


def everything_on_the_way(s: Script) -> None:
    s.open()
    s.everything()
    s.heartbeat()
    s.ask()
    s.everything()
    s.heartbeat()
    s.answer()
    s.check()


def the_stream_ends(s: Script) -> None:
    s.begin()
    s.ask(OTHER)
    s.end()
    s.check()
    s.keep(THIRD)
    s.check(THIRD)
    s.wait(0.1)
    s.open()
    s.everything()
    s.heartbeat()
    s.answer()  # asked during the stream before
    for token in (TOKEN, OTHER, THIRD):
        s.check(token)
    s.keep()
    s.check()


def another_worker(s: Script) -> None:
    s.begin()
    s.wait(1)
    s.end()
    s.wait(0.5)
    s.open()
    s.wait(0.01)
    s.everything(90_000)  # each worker has a clock of its own
    s.keep()
    s.heartbeat(90_000)
    s.check()
    s.wait(1)
    s.heartbeat(90_001)
    s.wait(1.9)
    s.check()
    s.wait(0.1)
    s.check()


def deadlines(s: Script) -> None:
    s.begin()
    s.keep(OTHER, until=s.now + 10)
    s.keep(THIRD, active=False)
    for seconds in (9.9, 0.1, 19.9, 0.1, 269.9, 0.1):
        s.wait(seconds)
        s.heartbeat(round(7 + s.now - 1000, 6))
        for token in (TOKEN, OTHER, THIRD):
            s.check(token)


def a_new_answer(s: Script) -> None:
    s.begin()
    s.keep(active=False)
    s.check()


def stale(s: Script) -> None:
    s.begin()
    s.keep(OTHER, exp=s.now + 30, until=s.now + 30)
    s.keep(THIRD, active=False)
    for seconds in (1.9, 0.1, 27.9, 0.1, 29.9, 0.2):
        s.wait(seconds)
        for token in (TOKEN, OTHER, THIRD):
            s.check(token)


def stale_and_forgotten(s: Script) -> None:
    s.begin()
    s.forget("user:{ada}")
    s.end()
    s.check()


def stale_after_the_end(s: Script) -> None:
    s.begin()
    s.wait(1)
    s.end()
    s.check()
    s.wait(0.5)
    s.open()
    s.check()
    s.everything()
    s.check()


def garbage(chunk: str | bytes, times: int = 1, begin: bool = True) -> Callable[[Script], None]:
    def write(s: Script) -> None:
        if begin:
            s.begin()
        else:
            s.open()
        s.receive(chunk, times)
        s.check()

    return write


def harmless(s: Script) -> None:
    s.open()
    s.receive(": hello\n\n")
    s.everything()
    s.receive(event("news", [1]) + "id: 7\n\nretry: 5\n\ndata: no name\n\n")
    s.keep()
    s.receive(": ping\n\n", 1000)
    s.heartbeat()
    s.check()
    s.receive(event("forget", ["x", key_digest("user:{grace}"), ""]) + event("forget", []))
    s.check()


def byte_by_byte(s: Script) -> None:
    s.open()
    stream = b"\xef\xbb\xbf" + event("everything", {"at": 7000}).encode() + b": ping\r\n\r\n"
    s.receive(stream)
    s.keep()
    for byte in event("heartbeat", {"at": 7000}).replace("\n", "\r\n"):
        s.receive(byte)
    s.check()
    data = json.dumps([key_digest("user:{ada}"), "x"], indent=1).split("\n")
    s.receive("event:forget\r" + "".join(f"data:{line}\r" for line in data) + "\r")
    s.check()


_GARBAGE: dict[str, Callable[[Script], None]] = {
    "a heartbeat before everything": garbage(event("heartbeat", {"at": 7000}), begin=False),
    "a change before everything": garbage(event("forget", []), begin=False),
    "broken characters before everything": garbage(b"\xff\n\n", begin=False),
    "a page of HTML": garbage("<!doctype html>\n<title>502 Bad Gateway</title>\n\n", begin=False),
    "everything without JSON": garbage("event: everything\ndata: now\n\n"),
    "forget without JSON": garbage("event: forget\ndata: {\n\n"),
    "forget without a list": garbage(event("forget", {})),
    "forget with a list in it": garbage(event("forget", [[]])),
    "forget without data": garbage("event: forget\n\n"),
    "a heartbeat without data": garbage("event: heartbeat\n\n"),
    "broken characters": garbage(b'event: forget\ndata: ["\xff"]\n\n'),
    "a line without an end": garbage("x", 2_000_000),
    "an event without an end": garbage("data: 0123456789\n", 200_000),
}


def transcripts() -> dict[str, Any]:
    """Streams with their times, and what the cache does."""
    plain: list[Callable[[Script], None]] = [
        a_heartbeat_is_needed,
        silence,
        a_gap,
        late_heartbeats,
        slightly_late_heartbeats,
        a_slow_beginning,
        heartbeats_out_of_order,
        a_process_that_was_stopped,
        no_times,
        everything_again,
        a_change_of_one_user,
        a_change_on_the_way,
        an_inactive_answer_on_the_way,
        everything_on_the_way,
        the_stream_ends,
        another_worker,
        deadlines,
        a_new_answer,
        harmless,
        byte_by_byte,
    ]
    named = {write.__name__.replace("_", " "): write for write in plain}
    for key in (f"session:{HANDLE}", "user:{ada}", "client:app", "client:backend", "service"):
        named[f"a change of {key}"] = a_change_of(key)
    named |= {"the sender's clock is slow": clocks(0.95), "the sender's clock is fast": clocks(1.05)} | _GARBAGE
    cases = [play(name, write) for name, write in named.items()]
    cases += [
        play(f"{write.__name__.replace('_', ' ')}", write, serve_stale_for_s=60.0)
        for write in (stale, stale_and_forgotten, stale_after_the_end)
    ]
    cases.append(play("a longer silence is allowed", silence, feed_silence_s=5.0))
    return {"cases": cases}
