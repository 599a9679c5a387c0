"""Password hashes that other systems made: their kinds, their forms, and which parameters are taken.

The service stores such a hash as it comes, and replaces it by argon2id when its user logs in. `imported_hash_text`
reads and writes the texts; `authsvc.hashing.imported` verifies passwords. Nothing here computes a hash.

`check_parameters` of each kind raises InvalidRequest for parameters that no primitive can compute within the bounds.
An import also measures each form (`authsvc.hashing.cost`): what a check takes depends on the machine.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final, Literal

from authsvc.core.hash_form import Form
from authsvc.errors import InvalidRequest

# The most that one check may take. Anybody who guesses passwords makes the service pay this price.
MAX_CHECK_S: Final = 3.0  # of one core; slow ones take 1.8 s for the million iterations of Django 5.2
MAX_MEMORY_KIB: Final = 136 * 1024  # parameters of 128 MiB, and what the primitive adds

MAX_BCRYPT_COST: Final = 14
# For each block of the digest's size that is derived. SHA-512 takes twice as long as the others.
MAX_PBKDF2_ITERATIONS: Final = {"sha1": 2_500_000, "sha256": 2_500_000, "sha512": 1_000_000}
_MAX_PARAMETER_KIB: Final = 128 * 1024
# scrypt takes 128 * r * n bytes, and 128 * r * p bytes twice, which it fills with PBKDF2. So p and r have bounds too.
_MAX_SCRYPT_WORK: Final = 2**21  # n * r * p
_MAX_SCRYPT_R: Final = 64
_MAX_SCRYPT_P: Final = 32
# argon2 starts four times its lanes as threads in each pass.
_MAX_ARGON2_WORK: Final = 1024 * 1024  # KiB times passes
_MAX_PASSES: Final = 64
_MAX_LANES: Final = 16
_MAX_CRYPT_ROUNDS: Final = 500_000
# Python computes phpass, and other threads wait meanwhile. phpass itself never used more than 2^13 by default.
_MAX_PHPASS_ROUNDS: Final = 2**15
_MIN_SALT: Final = 8
_WEAK: Final = "salted-"
_MIN_SHA_SALT: Final = 4  # as early LDAP servers wrote it
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

    def check_parameters(self) -> None:
        if not 4 <= self.cost <= MAX_BCRYPT_COST:
            raise InvalidRequest(f"bcrypt with cost {self.cost}: 4 to {MAX_BCRYPT_COST} are taken")

    @property
    def form(self) -> Form:
        return Form.of("bcrypt", cost=self.cost)


@dataclass(frozen=True, slots=True)
class Pbkdf2:
    digest: str
    iterations: int
    salt: bytes
    hash: bytes = field(repr=False)

    def check_parameters(self) -> None:
        _check_length(self.hash)
        blocks = -(-len(self.hash) // hashlib.new(self.digest).digest_size)
        most = MAX_PBKDF2_ITERATIONS[self.digest]
        if self.iterations * blocks > most:
            what = f"PBKDF2-{self.digest} with {self.iterations} iterations for each of {blocks} blocks"
            raise InvalidRequest(f"{what}: at most {most} in all are taken")

    @property
    def form(self) -> Form:
        return Form.of(f"pbkdf2-{self.digest}", i=self.iterations, l=len(self.hash))


@dataclass(frozen=True, slots=True)
class Scrypt:
    """`n`, `r` and `p` are those of RFC 7914 section 2."""

    n: int
    r: int
    p: int
    salt: bytes
    hash: bytes = field(repr=False)

    def check_parameters(self) -> None:
        _check_length(self.hash)
        check_power_of_two(self.n)
        _check_bounds(
            f"scrypt with n={self.n}, r={self.r}, p={self.p}",
            ("KiB of memory", 128 * self.r * (self.n + 2 * self.p) // 1024, _MAX_PARAMETER_KIB + 128),
            ("n*r*p", self.n * self.r * self.p, _MAX_SCRYPT_WORK),
            ("r", self.r, _MAX_SCRYPT_R),
            ("p", self.p, _MAX_SCRYPT_P),
        )
        if self.n >= 2 ** (16 * self.r):  # RFC 7914 section 2; OpenSSL computes no such hash
            raise InvalidRequest(f"scrypt with n={self.n}, r={self.r}: n must be below 2^(16*r)")

    @property
    def form(self) -> Form:
        return Form.of("scrypt", n=self.n, r=self.r, p=self.p, l=len(self.hash))


@dataclass(frozen=True, slots=True)
class Argon2:
    """An argon2 hash, from elsewhere or of this service. `encoded`: the text that the argon2 library takes."""

    encoded: str = field(repr=False)
    kind: str
    memory_kib: int
    passes: int
    lanes: int
    salt: bytes
    hash: bytes = field(repr=False)

    def check_parameters(self) -> None:
        _check_bounds(
            f"argon2 with m={self.memory_kib}, t={self.passes}, p={self.lanes}",
            ("KiB of memory", self.memory_kib, _MAX_PARAMETER_KIB),
            ("m*t", self.memory_kib * self.passes, _MAX_ARGON2_WORK),
            ("t", self.passes, _MAX_PASSES),
            ("p", self.lanes, _MAX_LANES),
        )
        if not self.passes or not self.lanes or self.memory_kib < 8 * self.lanes:
            raise InvalidRequest("the hash is damaged: argon2 has no such parameters")
        _check_length(self.hash)
        if len(self.salt) < _MIN_SALT:
            raise InvalidRequest(f"argon2 takes no salt shorter than {_MIN_SALT} bytes")

    @property
    def form(self) -> Form:
        return Form.of(f"argon2{self.kind}", m=self.memory_kib, t=self.passes, p=self.lanes, l=len(self.hash))


@dataclass(frozen=True, slots=True)
class Sha512Crypt:
    """`encoded`: the text that the C library takes."""

    encoded: str = field(repr=False)
    rounds: int

    def check_parameters(self) -> None:
        _check_bounds("SHA-512-crypt", ("rounds", self.rounds, _MAX_CRYPT_ROUNDS))
        if self.rounds < 1000:
            raise InvalidRequest("the hash is damaged: SHA-512-crypt has at least 1000 rounds")

    @property
    def form(self) -> Form:
        return Form.of("sha512-crypt", rounds=self.rounds)


@dataclass(frozen=True, slots=True)
class Phpass:
    """MD5 again and again, as WordPress and phpBB had it."""

    rounds: int
    salt: bytes
    hash: bytes = field(repr=False)

    def check_parameters(self) -> None:
        _check_bounds("phpass", ("rounds", self.rounds, _MAX_PHPASS_ROUNDS))
        _check_length(self.hash)

    @property
    def form(self) -> Form:
        return Form.of("phpass", rounds=self.rounds)


@dataclass(frozen=True, slots=True)
class SaltedSha:
    """One SHA of the password and then the salt, as LDAP servers have it: see `is_weak`."""

    digest: str
    salt: bytes
    hash: bytes = field(repr=False)

    def check_parameters(self) -> None:
        if len(self.salt) < _MIN_SHA_SALT:
            raise InvalidRequest(f"salted SHA: the salt has fewer than {_MIN_SHA_SALT} bytes, or the hash is damaged")

    @property
    def form(self) -> Form:
        return Form.of(f"{_WEAK}{self.digest}")


@dataclass(frozen=True, slots=True)
class FirebaseScrypt:
    """scrypt with p=1, whose result is a key of AES-256.

    `salt`: that of the user, then the separator of the project. `keystream`: the first bytes that AES in counter mode
    adds to a text. Firebase stores the signer key of the project, encrypted so.
    """

    n: int
    r: int
    salt: bytes
    keystream: bytes = field(repr=False)

    def check_parameters(self) -> None:
        Scrypt(self.n, self.r, 1, self.salt, self.keystream).check_parameters()

    @property
    def form(self) -> Form:
        return Form.of("firebase-scrypt", n=self.n, r=self.r)


ImportedHash = Bcrypt | Pbkdf2 | Scrypt | Argon2 | Sha512Crypt | Phpass | SaltedSha | FirebaseScrypt


def is_weak(form: Form) -> bool:
    """Whether a check is one fast hash. An attacker who reads the store tries billions of passwords a second."""
    return form.algorithm.startswith(_WEAK)


def check_power_of_two(n: int) -> None:
    """Raise InvalidRequest unless scrypt takes this `n`."""
    if n < 2 or n & (n - 1):
        raise InvalidRequest("scrypt: n is no power of two")


def _check_length(hash_: bytes) -> None:
    if len(hash_) < _MIN_DIGEST:
        raise InvalidRequest(f"the hash is shorter than {_MIN_DIGEST} bytes")


def _check_bounds(what: str, *bounds: tuple[str, int, int]) -> None:
    """Raise InvalidRequest for the first value above its limit. `bounds`: name, value and limit of each."""
    for name, value, limit in bounds:
        if value > limit:
            raise InvalidRequest(f"{what}: {name} is {value}, at most {limit} is taken")
