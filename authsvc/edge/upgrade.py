"""Ignoring `Upgrade`, as RFC 9110 section 7.8 lets a server do: the request is answered as HTTP/1.1, with its body.

The parser ends a request that wants another protocol after its head, and takes the body for bytes of that protocol. So
a new parser reads the head again, without the word `upgrade` in `Connection`. Then it reads the body by the rules of
every other request. The field `Upgrade` itself stays: the check of a gateway has to know a WebSocket.
"""

from collections.abc import Iterator
from typing import Any

import httptools

from authsvc.core.address import OWS
from authsvc.edge.head import Fields
from authsvc.errors import InvalidRequest

_OWS = OWS.encode()


class SetAside:
    """Stands in for uvicorn's cycle from the head to the end that the parser gives to such a request."""

    more_body = True

    @property
    def message_event(self) -> Any:
        return self

    def set(self) -> None:
        pass


def new_parser(protocol: Any) -> httptools.HttpRequestParser:
    """A parser with the one leniency that uvicorn gives its own."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def feed(parser: httptools.HttpRequestParser, data: bytes) -> int | None:
    """Let the parser read. Returns the end of a head that wants another protocol: the parser stops there."""
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade as upgrade:
        return int(upgrade.args[0])
    return None


def head_without_upgrade(parser: httptools.HttpRequestParser, url: bytes, fields: Fields) -> bytes:
    """The head that the parser has read, without the wish for another protocol. Raises InvalidRequest."""
    if any(b"\r" in value or b"\n" in value for _, value in fields):  # the parser lets none pass
        raise InvalidRequest("a header field has more than one line")
    lines = b"".join([b"%s: %s\r\n" % field for field in _without_upgrade(fields)])
    return b"%s %s HTTP/%s\r\n%s\r\n" % (parser.get_method(), url, parser.get_http_version().encode(), lines)


def _without_upgrade(fields: Fields) -> Iterator[tuple[bytes, bytes]]:
    for name, value in fields:
        if name == b"connection":
            options = [option for option in value.split(b",") if option.strip(_OWS).lower() != b"upgrade"]
            if options:
                yield name, b",".join(options)
        else:
            yield name, value
