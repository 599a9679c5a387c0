"""Verifies passwords against the hashes that other systems made.

The standard library and `bcrypt` do the work. `passlib` is no longer maintained, and its successors add formats and
policies of their own that the service does not need.
"""

import hashlib
import hmac
from base64 import b64encode
from typing import Final, assert_never

import bcrypt

from authsvc.core.imported_hash import Bcrypt, ImportedHash, Pbkdf2, Scrypt
from authsvc.core.imported_hash_text import parse

# bcrypt reads no more. The library refuses longer passwords; the other implementations cut them.
_BCRYPT_MAX_BYTES: Final = 72


def verify(stored: str, password: str) -> bool:
    """Whether the stored hash is of this password. Takes a second at most. Raises InvalidRequest for a damaged hash."""
    parsed = parse(stored)
    parsed.check_cost()  # the hash may have come into the store without an import
    return _is_of(parsed, password.encode("utf-8", "surrogatepass"))


def _is_of(parsed: ImportedHash, password: bytes) -> bool:
    match parsed:
        case Bcrypt():
            return bcrypt.checkpw(_bcrypt_input(parsed, password)[:_BCRYPT_MAX_BYTES], parsed.encoded.encode())
        case Pbkdf2(digest, iterations, salt, hash_):
            return hmac.compare_digest(hashlib.pbkdf2_hmac(digest, password, salt, iterations, len(hash_)), hash_)
        case Scrypt(n, r, p, salt, hash_):
            memory = 128 * r * (n + p + 2) + 65536  # what OpenSSL counts, and a little
            derived = hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=len(hash_))
            return hmac.compare_digest(derived, hash_)
        case _:
            assert_never(parsed)


def _bcrypt_input(parsed: Bcrypt, password: bytes) -> bytes:
    match parsed.input:
        case "password":
            return password
        case "sha256 hex":
            return hashlib.sha256(password).hexdigest().encode()
        case "sha256 base64":
            return b64encode(hashlib.sha256(password).digest())
        case "hmac base64":
            return b64encode(hmac.digest(parsed.salt.encode(), password, "sha256"))
        case _:
            assert_never(parsed.input)
