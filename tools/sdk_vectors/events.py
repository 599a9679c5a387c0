"""Vectors of parsing: server-sent events in streams of bytes."""

import base64
from typing import Any

from authsvc_sdk.sse import EventParser

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
