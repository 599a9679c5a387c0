"""The text of a token: how it is made, recognised and digested.

A token has 49 characters of base62: prefix (4), handle (12), secret (27), check (6).

- The handle (71 bits) is public. It names the record.
- The secret has 160 bits, as RFC 6749 section 10.10 asks. In a refresh token, 48 of them are a MAC: see
  `core/refresh_token.py`.
- The check is the CRC-32 of all before it. The service refuses a mistyped or invented string without asking the store,
  and a secret scanner can verify a find offline.
"""

import hmac
import re
import secrets
from binascii import b2a_base64
from enum import StrEnum
from hashlib import sha256
from typing import Final
from zlib import crc32

from msgspec import Struct

from authsvc.errors import CorruptRecord

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
HANDLE_LENGTH = 12
SECRET_LENGTH = 27
LENGTH = 49
DIGEST_LENGTH = 27

_HANDLE = re.compile(r"[0-9A-Za-z]{12}")
_HANDLE_END = 4 + HANDLE_LENGTH
_BODY_END = LENGTH - 6
_DIGITS = {character: digit for digit, character in enumerate(ALPHABET)}
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]


class Kind(StrEnum):
    """The kind of a token, which is its prefix. Each kind works only in its own place."""

    ACCESS = "tok"
    REFRESH = "ref"
    RESET = "rst"
    LOGIN = "aut"
    DEVICE = "dev"
    SECRET = "sec"  # noqa: S105 - a prefix, not a secret


_KINDS = {kind.value: kind for kind in Kind}  # a plain dict: calling an enum costs ten times as much
# The prefix of every token. Other patterns are made from this one, such as the mask of the access log.
PREFIX: Final = re.compile(rf"(?:{'|'.join(Kind)})_")
_SHAPE = re.compile(rf"{PREFIX.pattern}[0-9A-Za-z]{{45}}")


class Token(Struct, frozen=True):
    """A well-formed token. Its text stays out of every repr; only `digest` may be stored."""

    text: str
    kind: Kind
    handle: str

    def __repr__(self) -> str:
        return f"Token({self.kind!r}, {self.handle!r})"

    @property
    def digest(self) -> str:
        return digest(self.text)

    @property
    def secret(self) -> int:
        """The secret as a number below 62^27."""
        number = 0
        for character in self.text[_HANDLE_END:_BODY_END]:
            number = number * 62 + _DIGITS[character]
        return number

    @property
    def short_digest(self) -> str:
        """48 bits of the digest, enough to recognise a spent token among a session's own."""
        return self.digest[:8]


def parse(text: str, kind: Kind | None = None) -> Token | None:
    """Recognise a token of `kind` (None: of any kind). Returns None if the shape or the check digits are wrong."""
    if _SHAPE.fullmatch(text) is None or text[_BODY_END:] != _check(text[:_BODY_END]):
        return None
    found = _KINDS[text[:3]]
    return Token(text, found, text[4:_HANDLE_END]) if kind is None or kind is found else None


def new(kind: Kind, handle: str | None = None) -> Token:
    """Make a random token, for `handle` or for a new handle."""
    return assemble(kind, handle or new_handle(), secrets.randbelow(62**SECRET_LENGTH))


def new_handle() -> str:
    return _base62(secrets.randbelow(62**HANDLE_LENGTH), HANDLE_LENGTH)


def new_seed() -> str:
    """Make a secret of 160 bits that is the key of an HMAC: the seed of a session, or of one rotation."""
    return _base62(secrets.randbelow(62**SECRET_LENGTH), SECRET_LENGTH)


def is_handle(text: str) -> bool:
    return _HANDLE.fullmatch(text) is not None


def successor(seed: str, spent: Token, kind: Kind) -> Token:
    """Derive the token of `kind` that follows the refresh token `spent`. The result is always the same."""
    # 256 bits taken modulo 62^27 (161 bits): the bias is below 2^-95.
    return assemble(kind, spent.handle, derive(seed, spent, kind) % 62**SECRET_LENGTH)


def derive(seed: str, spent: Token, kind: Kind) -> int:
    """256 bits from a seed and a spent token. A stolen store lacks the token, and a stolen token the seed."""
    return int.from_bytes(hmac.digest(seed.encode(), f"{spent.text}\n{kind}".encode(), "sha256"))


def digest(text: str) -> str:
    """The stored form of a secret of full entropy: the first 27 characters of its SHA-256 in base64.

    These are 162 bits. Finding the secret, or another text with the same digest, is as hard as guessing the secret.
    """
    return b2a_base64(sha256(text.encode()).digest(), newline=False)[:DIGEST_LENGTH].decode()


def is_same_digest(stored: str, presented: str) -> bool:
    """Compare in constant time. Raises CorruptRecord for a stored digest that `digest` cannot have made."""
    if len(stored) != len(presented) or not stored.isascii():
        raise CorruptRecord("a stored digest is damaged")
    return hmac.compare_digest(stored, presented)


def assemble(kind: Kind, handle: str, secret: int) -> Token:
    """Make the token with this secret, a number below 62^27."""
    body = f"{kind}_{handle}{_base62(secret, SECRET_LENGTH)}"
    return Token(body + _check(body), kind, handle)


def _check(body: str) -> str:
    crc = crc32(body.encode())
    return _PAIRS[crc // 3844**2] + _PAIRS[crc // 3844 % 3844] + _PAIRS[crc % 3844]


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
