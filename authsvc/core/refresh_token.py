"""The refresh tokens of a session: random bits, and a MAC that shows that this session issued the token.

The secret of a refresh token is the number `random * 2^48 + mac`. Its random part has 112 bits. The key of the MAC is
the seed of the session, so the session recognises every token that it ever issued, without a list of them.

The seed only recognises tokens: the random part of a successor is derived from another seed, which each rotation has
for itself.
"""

import hmac
import secrets
from typing import Final

from authsvc.core import token as tokens
from authsvc.core.token import SECRET_LENGTH, Kind, Token

_MAC_BYTES: Final = 6
_MACS: Final = 1 << 8 * _MAC_BYTES
_RANDOMS: Final = 62**SECRET_LENGTH // _MACS  # 2^112.7


def new(seed: str, handle: str) -> Token:
    """Make a refresh token that is independent of all earlier ones. seed: of the session."""
    return _with_mac(seed, handle, secrets.randbelow(_RANDOMS))


def successor(rotation_seed: str, seed: str, spent: Token) -> Token:
    """Derive the refresh token that follows `spent`. The result is always the same.

    rotation_seed: the secret of this one rotation. seed: of the session.
    """
    derived = tokens.derive(rotation_seed, spent, Kind.REFRESH)
    # 256 bits taken modulo 2^112.7: the bias is below 2^-143.
    return _with_mac(seed, spent.handle, derived % _RANDOMS)


def is_genuine(seed: str, token: Token) -> bool:
    """Whether the session with this seed issued the refresh token at any time. Takes constant time."""
    random, mac = divmod(token.secret, _MACS)
    return hmac.compare_digest(mac.to_bytes(_MAC_BYTES), _mac(seed, token.handle, random))


def _with_mac(seed: str, handle: str, random: int) -> Token:
    mac = int.from_bytes(_mac(seed, handle, random))
    return tokens.assemble(Kind.REFRESH, handle, random * _MACS + mac)


def _mac(seed: str, handle: str, random: int) -> bytes:
    # The first line keeps this apart from the derivation of tokens, whose text begins with a token.
    text = f"genuine\n{handle}\n{random}"
    return hmac.digest(seed.encode(), text.encode(), "sha256")[:_MAC_BYTES]
