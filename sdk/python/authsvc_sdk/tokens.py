"""Recognising access tokens offline, so that mistyped, truncated and invented strings cost no request.

A token is `tok_` + handle (12) + secret (27) + check (6), in base62. The check is the CRC-32 of everything before it.
"""

import re
from zlib import crc32

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SHAPE = re.compile(r"tok_[0-9A-Za-z]{45}")
_BODY_END = 43


def is_access_token(text: str) -> bool:
    """Whether the text has the form of an access token. Refresh tokens, client secrets and reset codes have another."""
    return _SHAPE.fullmatch(text) is not None and text[_BODY_END:] == _check(text[:_BODY_END])


def handle_of(token: str) -> str:
    """The public part of an access token: the id of its session."""
    return token[4:16]


def _check(body: str) -> str:
    rest, digits = crc32(body.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        digits = _ALPHABET[digit] + digits
    return digits
