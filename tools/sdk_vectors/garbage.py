"""Transcripts of streams that are not those of the service, and of strange writings that are."""

import json
from collections.abc import Callable

from authsvc_sdk.cache import key_digest

from tools.sdk_vectors.script import Script, event


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


# Times that the service's clock never tells. A cache that reckoned with them could be confirmed for ever.
_NO_TIMES = {
    "too large": "1e999",
    "too small": "-1e999",
    "no number of JSON": "NaN",
    "infinity": "Infinity",
    "negative": "-1",
    "above all exact numbers": "9007199254740994",
    "text": '"7000"',
    "true": "true",
    "a list": "[7000]",
}

GARBAGE: dict[str, Callable[[Script], None]] = {
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
    **{
        f"a heartbeat whose time is {what}": garbage(f'event: heartbeat\ndata: {{"at": {at}}}\n\n')
        for what, at in _NO_TIMES.items()
    },
    "everything whose time is too large": garbage('event: everything\ndata: {"at": 1e999}\n\n'),
    "everything without an object": garbage(event("everything", [7000])),
    "a heartbeat without an object": garbage(event("heartbeat", 7000)),
    "a heartbeat that is null": garbage(event("heartbeat", None)),
    "broken characters": garbage(b'event: forget\ndata: ["\xff"]\n\n'),
    "a line without an end": garbage("x", 2_000_000),
    "an event without an end": garbage("data: 0123456789\n", 200_000),
}
