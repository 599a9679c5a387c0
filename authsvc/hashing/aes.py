"""AES-256 in counter mode, which Firebase's scrypt needs.

The standard library has no AES. The package `cryptography` has it, and comes with the extra `firebase`. It is loaded at
the first use, so that no other installation needs it.
"""


class NoAes(Exception):
    """`cryptography` is not installed."""


def keystream(key: bytes, size: int) -> bytes:
    """The first bytes that AES-256-CTR adds to a text, with a counter that begins at zero. Raises NoAes."""
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    except ImportError:
        raise NoAes("AES needs cryptography: pip install '/path/to/authsvc[firebase]' (docs/install.md)") from None
    return Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update(bytes(size))
