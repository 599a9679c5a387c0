"""Recognising access tokens and keys offline, so that mistyped, truncated and invented strings cost no request.

A token is `tok_` + handle (12) + secret (27) + check (6), in base62. The check is the CRC-32 of everything before it. A
key begins with `key_`, perhaps with a word in front, as in `acme_key_…`. Another system issued
a foreign key. It begins with a prefix that the settings name, and its handle is derived from its digest.
"""

import re
from hashlib import sha256
from zlib import crc32

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SHAPE = re.compile(r"(?:tok|(?:[a-z][a-z0-9]{0,15}_)?key)_[0-9A-Za-z]{45}")
_FOREIGN = re.compile(r"[A-Za-z0-9._~+/=-]{20,200}")


def is_token(text: str, foreign: tuple[str, ...] = ()) -> bool:
    """Whether the text has the form of an access token or a key. Refresh tokens, client secrets and codes have another.

    foreign: the prefixes of foreign keys.
    """
    if _SHAPE.fullmatch(text) is None:
        return text.startswith(foreign) and _FOREIGN.fullmatch(text) is not None
    return text[-6:] == _base62(crc32(text[:-6].encode()), 6)


def handle_of(token: str) -> str:
    """The public part of an access token or a key: the id of its session."""
    if _SHAPE.fullmatch(token) is not None:
        return token[-45:-33]
    return _base62(int.from_bytes(sha256(token.encode()).digest()) % 62**12, 12)


def _base62(number: int, length: int) -> str:
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits = _ALPHABET[digit] + digits
    return digits
