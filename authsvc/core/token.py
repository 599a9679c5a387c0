"""The text of a token: how it is made, recognised and digested.

A token has 49 characters of base62: prefix (4), handle (12), secret (27), check (6).

- The prefix is the kind of the token. A key may have one more word in front, as in `acme_key_…`.
- The handle (71 bits) is public. It names the record.
- The secret has 160 bits, as RFC 6749 section 10.10 asks. In a refresh token, 48 of them are a MAC: see
  `core/refresh_token.py`.
- The check is the CRC-32 of all before it. The service refuses a mistyped or invented string without asking the store,
  and a secret scanner can verify a find offline.

A foreign key was issued by another system. A prefix that the settings name marks it, and its handle is derived from its
digest.
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
_CHECK_LENGTH = 6
# Counted from the end: a key may have a word in front.
_HANDLE_START = 4 - LENGTH
_SECRET_START = _HANDLE_START + HANDLE_LENGTH
_DIGITS = {character: digit for digit, character in enumerate(ALPHABET)}
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]


class Kind(StrEnum):
    """The kind of a token, which is its prefix. Each kind works only in its own place."""

    ACCESS = "tok"
    REFRESH = "ref"
    RESET = "rst"
    LOGIN = "aut"
    DEVICE = "dev"
    KEY = "key"
    SECRET = "sec"  # noqa: S105 - a prefix, not a secret


# The kinds that open a session at a resource server, and the kinds that belong to a session.
BEARER: Final = (Kind.ACCESS, Kind.KEY)
OF_SESSION: Final = (*BEARER, Kind.REFRESH)

_KINDS = {kind.value: kind for kind in Kind}  # a plain dict: calling an enum costs ten times as much
# The prefix of every token. Other patterns are made from this one, such as the mask of the access log.
PREFIX: Final = re.compile(rf"(?:{'|'.join(Kind)})_")
_SHAPE = re.compile(rf"{PREFIX.pattern}[0-9A-Za-z]{{45}}")
# The word in front of a key names its issuer to secret scanners (AUTHSVC_KEY_PREFIX).
KEY_WORD: Final = re.compile(r"[a-z][a-z0-9]{0,15}")
_WORDED = re.compile(rf"{KEY_WORD.pattern}_{Kind.KEY}_[0-9A-Za-z]{{45}}")
# The prefix of foreign keys, and the whole text of one. A shorter text has no room for a secret.
FOREIGN_PREFIX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{2,31}")
_FOREIGN = re.compile(r"[A-Za-z0-9._~+/=-]{20,200}")


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
    def public(self) -> str:
        """The part of the text that is no secret."""
        return f"{self.kind}_{self.handle}"

    @property
    def secret(self) -> int:
        """The secret as a number below 62^27. Only for a token that this service has made."""
        number = 0
        for character in self.text[_SECRET_START:-_CHECK_LENGTH]:
            number = number * 62 + _DIGITS[character]
        return number

    @property
    def short_digest(self) -> str:
        """48 bits of the digest, enough to recognise a spent token among a session's own."""
        return self.digest[:8]


def parse(text: str, *kinds: Kind, foreign: tuple[str, ...] = ()) -> Token | None:
    """Recognise a token of one of these kinds; without `kinds` of any kind.

    foreign: the prefixes of foreign keys. Returns None if the shape or the check digits are wrong.
    """
    if _SHAPE.fullmatch(text) is not None:
        kind = _KINDS[text[:3]]
    elif _WORDED.fullmatch(text) is not None:
        kind = Kind.KEY
    else:
        return _foreign(text) if foreign and text.startswith(foreign) and (not kinds or Kind.KEY in kinds) else None
    if (kinds and kind not in kinds) or text[-_CHECK_LENGTH:] != check(text[:-_CHECK_LENGTH]):
        return None
    return Token(text, kind, text[_HANDLE_START:_SECRET_START])


def _foreign(text: str) -> Token | None:
    if _FOREIGN.fullmatch(text) is None:
        return None
    return Token(text, Kind.KEY, foreign_handle(_sha256(text)))


def foreign_handle(sha256_of_key: bytes) -> str:
    """The handle of a foreign key: 12 characters of its SHA-256 in base62."""
    return _base62(int.from_bytes(sha256_of_key) % 62**HANDLE_LENGTH, HANDLE_LENGTH)


def new(kind: Kind, handle: str | None = None, word: str = "") -> Token:
    """Make a random token, for `handle` or for a new handle. word: what a key has in front, if anything."""
    return assemble(kind, handle or new_handle(), secrets.randbelow(62**SECRET_LENGTH), word)


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


def derive(seed: str, token: Token, purpose: str) -> int:
    """256 bits from a seed and a presented token. A stolen store lacks the token, and a stolen token the seed."""
    return int.from_bytes(hmac.digest(seed.encode(), f"{token.text}\n{purpose}".encode(), "sha256"))


def digest(text: str) -> str:
    """The stored form of a secret of full entropy: the first 27 characters of its SHA-256 in base64.

    These are 162 bits. Finding the secret, or another text with the same digest, is as hard as guessing the secret.
    """
    return stored_form(_sha256(text))


def stored_form(sha256_of_secret: bytes) -> str:
    """The stored form of a secret whose SHA-256 is known."""
    return b2a_base64(sha256_of_secret, newline=False)[:DIGEST_LENGTH].decode()


def _sha256(text: str) -> bytes:
    return sha256(text.encode()).digest()


def is_same_digest(stored: str, presented: str) -> bool:
    """Compare in constant time. Raises CorruptRecord for a stored digest that `digest` cannot have made."""
    if len(stored) != len(presented) or not stored.isascii():
        raise CorruptRecord("a stored digest is damaged")
    return hmac.compare_digest(stored, presented)


def assemble(kind: Kind, handle: str, secret: int, word: str = "") -> Token:
    """Make the token with this secret, a number below 62^27. word: what a key has in front, if anything."""
    body = f"{word and f'{word}_'}{kind}_{handle}{_base62(secret, SECRET_LENGTH)}"
    return Token(body + check(body), kind, handle)


def check(body: str) -> str:
    """The check digits of a text: its CRC-32 in base62."""
    crc = crc32(body.encode())
    return _PAIRS[crc // 3844**2] + _PAIRS[crc // 3844 % 3844] + _PAIRS[crc % 3844]


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
