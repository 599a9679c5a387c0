"""Scopes (RFC 6749 section 3.3): a set of case-sensitive words that travels as one space-separated string."""

import re
from typing import Final

from authsvc.errors import InvalidScope

# Only a role or a client's permission gives power over this service. A scope never does.
RESERVED = frozenset({"admin"})
MAX_LENGTH = 1024

SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")


def parse(text: str) -> str:
    """Check and tidy a requested scope; the empty string is the empty set. Raises InvalidScope."""
    if not text:
        return ""
    if len(text) > MAX_LENGTH or not SCOPE.fullmatch(text):
        raise InvalidScope(
            "a scope is words of printable ASCII, without quotes and backslashes, with single spaces between"
        )
    words = dict.fromkeys(text.split(" "))
    if reserved := RESERVED & words.keys():
        raise InvalidScope(f"this scope is reserved: {' '.join(reserved)}")
    return " ".join(words)


def covers(granted: str, wanted: str) -> bool:
    """Whether `granted` has every word of `wanted`."""
    return set(wanted.split(" ")) <= set(granted.split())


def within(requested: str, granted: str | None) -> str:
    """The requested scope, if all of it is granted (None grants any). Raises InvalidScope."""
    scope = parse(requested)
    beyond = [] if granted is None else [word for word in scope.split() if word not in granted.split()]
    if beyond:
        raise InvalidScope(f"the requested scope exceeds what may be granted: {' '.join(beyond)}")
    return scope


def common(one: str, other: str) -> str:
    """The words of `one` that `other` has too."""
    return " ".join(word for word in one.split(" ") if word and word in other.split(" "))


def mask(scope: str, whole: str) -> int | None:
    """Which words of `whole` are in `scope`, one bit for each; None: all of them."""
    bits = [word in scope.split(" ") for word in whole.split(" ")]
    return None if all(bits) else sum(1 << place for place, bit in enumerate(bits) if bit)


def masked(whole: str, bits: int | None) -> str:
    """The words of `whole` that `mask` has named."""
    if bits is None:
        return whole
    return " ".join(word for place, word in enumerate(whole.split(" ")) if bits >> place & 1)
