"""Password hashes that other systems made: their kinds, and what verifying one may cost.

The service stores such a hash as it comes, and replaces it by argon2id when its user logs in. `imported_hash_text`
reads and writes the texts; `authsvc.hashing.imported` verifies passwords. Nothing here computes a hash.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final, Literal

from authsvc.errors import InvalidRequest

# The most that one check may cost: about a second of one core, and this much memory. Anybody who guesses passwords
# makes the service pay this price.
MAX_BCRYPT_COST: Final = 14
MAX_PBKDF2_ITERATIONS: Final = 5_000_000  # for each block of the digest's size that is derived
MAX_MEMORY_KIB: Final = 128 * 1024
_MAX_SCRYPT_WORK: Final = 2**21  # n * r * p
_MAX_ARGON2_WORK: Final = 1024 * 1024  # KiB times passes
_MAX_LANES: Final = 16
_MIN_SALT: Final = 8
_MIN_DIGEST: Final = 16  # many passwords match a shorter digest

# How Django and Passlib digest a password before bcrypt, which reads only 72 bytes.
BcryptInput = Literal["password", "sha256 hex", "sha256 base64", "hmac base64"]


@dataclass(frozen=True, slots=True)
class Bcrypt:
    """`encoded`: the text that the bcrypt library takes. `input`: what the maker gave to bcrypt."""

    encoded: str = field(repr=False)
    cost: int
    input: BcryptInput = "password"

    @property
    def salt(self) -> str:
        return self.encoded[7:29]

    def check_cost(self) -> None:
        if not 4 <= self.cost <= MAX_BCRYPT_COST:
            raise InvalidRequest(f"bcrypt with cost {self.cost}: 4 to {MAX_BCRYPT_COST} are taken")


@dataclass(frozen=True, slots=True)
class Pbkdf2:
    digest: str
    iterations: int
    salt: bytes
    hash: bytes = field(repr=False)

    def check_cost(self) -> None:
        _check_length(self.hash)
        blocks = -(-len(self.hash) // hashlib.new(self.digest).digest_size)
        if self.iterations * blocks > MAX_PBKDF2_ITERATIONS:
            raise InvalidRequest(f"PBKDF2 with {self.iterations} iterations: at most {MAX_PBKDF2_ITERATIONS} are taken")


@dataclass(frozen=True, slots=True)
class Scrypt:
    """`n`, `r` and `p` are those of RFC 7914 section 2."""

    n: int
    r: int
    p: int
    salt: bytes
    hash: bytes = field(repr=False)

    def check_cost(self) -> None:
        _check_length(self.hash)
        check_power_of_two(self.n)
        if 128 * self.n * self.r > MAX_MEMORY_KIB * 1024 or self.n * self.r * self.p > _MAX_SCRYPT_WORK:
            raise InvalidRequest(f"scrypt with n={self.n}, r={self.r}, p={self.p}: at most 128 MiB and a second")


@dataclass(frozen=True, slots=True)
class Argon2:
    """An argon2 hash from elsewhere. The service verifies it as one of its own."""

    memory_kib: int
    passes: int
    lanes: int
    salt: bytes
    hash: bytes = field(repr=False)

    def check_cost(self) -> None:
        if (
            self.memory_kib > MAX_MEMORY_KIB
            or self.memory_kib * self.passes > _MAX_ARGON2_WORK
            or self.lanes > _MAX_LANES
        ):
            cost = f"m={self.memory_kib}, t={self.passes}, p={self.lanes}"
            raise InvalidRequest(f"argon2 with {cost}: at most 128 MiB, {_MAX_LANES} lanes and a second")
        if not self.passes or not self.lanes or self.memory_kib < 8 * self.lanes:
            raise InvalidRequest("the hash is damaged: argon2 has no such parameters")
        _check_length(self.hash)
        if len(self.salt) < _MIN_SALT:
            raise InvalidRequest(f"argon2 takes no salt shorter than {_MIN_SALT} bytes")


# Each has `check_cost`, which raises InvalidRequest if a check costs too much or the hash is too short.
ImportedHash = Bcrypt | Pbkdf2 | Scrypt


def check_power_of_two(n: int) -> None:
    """Raise InvalidRequest unless scrypt takes this `n`."""
    if n < 2 or n & (n - 1):
        raise InvalidRequest("scrypt: n is no power of two")


def _check_length(hash_: bytes) -> None:
    if len(hash_) < _MIN_DIGEST:
        raise InvalidRequest(f"the hash is shorter than {_MIN_DIGEST} bytes")
