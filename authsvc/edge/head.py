"""The rules for a request's head beyond those of the parser (RFC 9112). A head with two meanings is refused."""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address

import httptools

from authsvc.core.address import OWS
from authsvc.edge import limits
from authsvc.errors import HeadTooLarge, InvalidRequest

Fields = Sequence[tuple[bytes, bytes]]

_OWS = OWS.encode()
# An IPv6 address in brackets, or a registered name (RFC 3986 section 3.2.2), which may be empty and may be an IPv4
# address; then perhaps a port.
_HOST = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?")


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
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) != 1 and (hosts or version == "1.1"):  # RFC 9112 section 3.2
        raise InvalidRequest("there has to be one Host header")
    if hosts and not is_host(hosts[0]):
        raise InvalidRequest("Host: this has to be a name or an address, and perhaps a port")
    # The parser looks at the last one only.
    encodings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
    if encodings and (version == "1.0" or encodings != [b"chunked"]):
        raise InvalidRequest("the only transfer encoding is chunked, in HTTP/1.1")


@lru_cache(maxsize=64)  # most requests have one of a few values
def is_host(value: bytes) -> bool:
    """Whether this is a value of the Host field (RFC 9110 section 7.2). It may be empty."""
    matched = _HOST.fullmatch(value.strip(_OWS))
    if matched is None:
        return False
    if matched[1] is not None:
        try:
            IPv6Address(matched[1].decode())
        except ValueError:
            return False
    return True


def check_size(url: bytes, fields: Fields) -> None:
    """Raise HeadTooLarge."""
    if len(url) + sum(len(name) + len(value) + 4 for name, value in fields) > limits.MAX_HEAD:
        raise HeadTooLarge(f"request line and header fields are over {limits.MAX_HEAD} bytes")
