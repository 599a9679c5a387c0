"""Verifies passwords against the hashes that other systems made.

The standard library and `bcrypt` do the work, and `cryptography` does AES. `passlib` is no longer maintained, and its
successors add formats and policies of their own that the service does not need.
"""

import hashlib
import hmac
from base64 import b64encode
from typing import Final, assert_never

import argon2
import bcrypt

from authsvc.core.imported_hash import (
    Argon2,
    Bcrypt,
    FirebaseScrypt,
    ImportedHash,
    Pbkdf2,
    Phpass,
    SaltedSha,
    Scrypt,
    Sha512Crypt,
)
from authsvc.core.imported_hash_text import parse
from authsvc.errors import InvalidRequest
from authsvc.hashing.aes import NoAes, keystream
from authsvc.hashing.libcrypt import NoCrypt, crypt

# bcrypt reads no more. The library refuses longer passwords; the other implementations cut them.
_BCRYPT_MAX_BYTES: Final = 72


class Uncheckable(Exception):
    """The hash is over the bounds, the primitive refuses its parameters, or it is missing here. The text says which."""


def verify(parsed: ImportedHash, password: str) -> bool:
    """Whether the hash is of this password. Raises Uncheckable; VerificationError if argon2 gets no memory."""
    try:
        parsed.check_parameters()  # the hash may have come into the store without an import, or with another version
        return _is_of(parsed, password.encode("utf-8", "surrogatepass"))
    except InvalidRequest as error:
        raise Uncheckable(str(error)) from None
    except (NoCrypt, NoAes) as error:
        raise Uncheckable(f"{parsed.form}: {error}") from None
    except (ValueError, OverflowError, argon2.exceptions.InvalidHashError) as error:
        raise Uncheckable(f"{parsed.form}: {type(error).__name__}") from None


def read_whole(stored: str, password: str) -> bool:
    """Whether the check of a hash has read all of this password.

    bcrypt reads 72 bytes. What the user typed after them may be wrong, and must not become the password.
    """
    parsed = parse(stored)
    return not (
        isinstance(parsed, Bcrypt)
        and parsed.input == "password"
        and len(password.encode("utf-8", "surrogatepass")) > _BCRYPT_MAX_BYTES
    )


def _is_of(parsed: ImportedHash, password: bytes) -> bool:
    match parsed:
        case Argon2():
            return _is_argon2_of(parsed, password)
        case Bcrypt():
            return bcrypt.checkpw(_bcrypt_input(parsed, password)[:_BCRYPT_MAX_BYTES], parsed.encoded.encode())
        case Pbkdf2(digest, iterations, salt, hash_):
            return hmac.compare_digest(hashlib.pbkdf2_hmac(digest, password, salt, iterations, len(hash_)), hash_)
        case Scrypt(n, r, p, salt, hash_):
            return hmac.compare_digest(_scrypt(password, salt, n, r, p, len(hash_)), hash_)
        case FirebaseScrypt(n, r, salt, stream):
            return hmac.compare_digest(keystream(_scrypt(password, salt, n, r, 1, 32), len(stream)), stream)
        case Sha512Crypt(encoded):
            return b"\0" not in password and hmac.compare_digest(crypt(password, encoded), encoded.encode())
        case Phpass(rounds, salt, hash_):
            return hmac.compare_digest(_phpass(password, salt, rounds), hash_)
        case SaltedSha(digest, salt, hash_):
            return hmac.compare_digest(hashlib.new(digest, password + salt, usedforsecurity=False).digest(), hash_)
        case _:
            assert_never(parsed)


def _scrypt(password: bytes, salt: bytes, n: int, r: int, p: int, length: int) -> bytes:
    memory = 128 * r * (n + p + 2) + 65536  # what OpenSSL counts, and a little
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=length)


def _phpass(password: bytes, salt: bytes, rounds: int) -> bytes:
    """No maintained library has this alone, and libpass brings all of Passlib. The algorithm is these three lines."""
    digest = hashlib.md5(salt + password, usedforsecurity=False).digest()
    for _ in range(rounds):
        digest = hashlib.md5(digest + password, usedforsecurity=False).digest()
    return digest


def _is_argon2_of(parsed: Argon2, password: bytes) -> bool:
    try:
        return argon2.PasswordHasher().verify(parsed.encoded, password)
    except argon2.exceptions.VerifyMismatchError:
        return False
    # Any other VerificationError, such as too little memory, says nothing about the password.


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
