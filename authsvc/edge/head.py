"""The rules for a request's head beyond those of the parser (RFC 9112). A head with two meanings is refused."""

from collections.abc import Sequence

import httptools

from authsvc.edge import limits
from authsvc.errors import HeadTooLarge, InvalidRequest

Fields = Sequence[tuple[bytes, bytes]]


def check_head(parser: httptools.HttpRequestParser, url: bytes, fields: Fields) -> None:
    """Raise InvalidRequest or HeadTooLarge. fields: names in lower case, with their values, in order."""
    if len(fields) > limits.MAX_FIELDS:
        raise HeadTooLarge(f"there are more than {limits.MAX_FIELDS} header fields")
    if parser.should_upgrade():  # `Upgrade` was removed before, see `edge/upgrade.py`
        raise InvalidRequest("there is no CONNECT here: this is HTTP/1.1")
    version = parser.get_http_version()
    if version not in ("1.1", "1.0"):
        raise InvalidRequest("this is neither HTTP/1.1 nor HTTP/1.0")
    if not url.startswith(b"/") or b"#" in url:
        raise InvalidRequest("the request target has to be a path")
    names = [name for name, _ in fields]
    hosts = names.count(b"host")
    if hosts != 1 and (hosts or version == "1.1"):  # RFC 9112 section 3.2
        raise InvalidRequest("there has to be one Host header")
    # The parser looks at the last one only.
    encodings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
    if encodings and (version == "1.0" or encodings != [b"chunked"]):
        raise InvalidRequest("the only transfer encoding is chunked, in HTTP/1.1")


def check_size(url: bytes, fields: Fields) -> None:
    """Raise HeadTooLarge."""
    if len(url) + sum(len(name) + len(value) + 4 for name, value in fields) > limits.MAX_HEAD:
        raise HeadTooLarge(f"request line and header fields are over {limits.MAX_HEAD} bytes")
