"""Recovery codes: each stands in for a second factor once. People write them down and type them.

A code has 80 random bits as 16 characters of Crockford's base32, in four groups. Only digests are stored. Nobody can
guess 80 bits, so a fast digest is enough.
"""

import secrets
from typing import Final

from authsvc.core.token import digest

CODES: Final = 10

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 16
_GROUP = 4
# Crockford's base32 has no letters i, l and o: they are read as the digits that they look like.
_READ_AS = str.maketrans({"o": "0", "i": "1", "l": "1", "-": None, " ": None})


def new_codes() -> tuple[str, ...]:
    return tuple(_new_code() for _ in range(CODES))


def _new_code() -> str:
    text = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    return "-".join(text[at : at + _GROUP] for at in range(0, _LENGTH, _GROUP))


def digest_of(code: str, sub: str) -> str | None:
    """The stored form of a code as somebody typed it; None if no code looks like this.

    The user's sub is part of it, so that a guess fits the codes of one user only.
    """
    plain = code.lower().translate(_READ_AS)
    if len(plain) != _LENGTH or not set(plain) <= set(_ALPHABET):
        return None
    return digest(f"{sub}\n{plain}")
