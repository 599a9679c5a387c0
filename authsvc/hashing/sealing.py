"""Seeds of one-time codes that came from another system, encrypted for the store with AES-256-GCM."""

import secrets
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


def seal(key: bytes, seed: bytes, bound_to: str) -> str:
    """The stored form of a seed. bound_to: what it belongs to; elsewhere it does not open."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return b64encode(nonce + AESGCM(key).encrypt(nonce, seed, bound_to.encode())).decode()


def unseal(key: bytes, sealed: str, bound_to: str) -> bytes | None:
    """The seed; None if the key or what it is bound to is another one, or if somebody changed it."""
    try:
        raw = b64decode(sealed, validate=True)
        return AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound_to.encode())
    except (ValueError, InvalidTag):
        return None
