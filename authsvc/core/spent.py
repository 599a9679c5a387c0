"""The spent refresh tokens without a MAC of one session: their short digests as one string, the newest last.

Only earlier versions issue such tokens. `core/refresh_token.py` recognises all others without a list.
"""

from typing import Final

from authsvc.core.token import Token, is_same_digest

# How many tokens the list has. An older one is refused like a token that was never issued.
MAX_SPENT: Final = 32
_SHORT: Final = 8  # the length of a short digest


def contains(spent: str, token: Token) -> bool:
    short = token.short_digest
    found = [spent[at : at + _SHORT] for at in range(0, len(spent), _SHORT)]
    return any([is_same_digest(other, short) for other in found])  # noqa: C419 - compares them all


def with_one_more(spent: str, digest: str) -> str:
    """digest: the whole digest of the token."""
    return (spent + digest[:_SHORT])[-MAX_SPENT * _SHORT :]
