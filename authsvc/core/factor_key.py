"""The factor key, which is kept outside of the store: no seed of a one-time code is in the store.

A seed is derived from the key and a random nonce in the record. A stolen store holds nonces only.
"""

import hmac
from dataclasses import dataclass, field
from typing import Final

from authsvc.core.record import Service
from authsvc.core.token import digest
from authsvc.core.totp import SEED_BYTES

# As `openssl rand -base64 32` prints it, a key has 44 characters.
MIN_CHARACTERS: Final = 32
_ID_LENGTH = 8


@dataclass(frozen=True, slots=True)
class FactorKey:
    """One key of the file. id: the name by which records know their key."""

    id: str
    secret: bytes = field(repr=False)

    @classmethod
    def of(cls, text: str) -> "FactorKey":
        secret = text.encode()
        # A digest of a digest: the id tells nothing about the key, and nobody can guess a random text.
        return cls(digest(f"factor key\n{digest(text)}")[:_ID_LENGTH], secret)

    def seed(self, sub: str, factor_id: str, nonce: str) -> bytes:
        """The seed of a factor. It is bound to its user and its factor: a copied record gives another seed."""
        return hmac.digest(self.secret, f"totp\n{sub}\n{factor_id}\n{nonce}".encode(), "sha256")[:SEED_BYTES]

    def sealing_key(self) -> bytes:
        """The key of AES-256-GCM for imported seeds."""
        return hmac.digest(self.secret, b"sealed seeds", "sha256")


def named(keys: tuple[FactorKey, ...], key_id: str) -> FactorKey | None:
    """The key with this id, None if the file lacks it."""
    return next((key for key in keys if key.id == key_id), None)


def missing_keys(service: Service, keys: tuple[FactorKey, ...]) -> tuple[str, ...]:
    """The ids of the keys that records need and the file lacks. A wrong key would refuse each code as wrong."""
    held = {key.id for key in keys}
    return tuple(key_id for key_id in service.factor_keys if key_id not in held)
