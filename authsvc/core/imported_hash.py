"""Password hashes that other systems made: which we take, what checking one may cost, and checking one.

They are stored as they come, and only until their owner logs in. Verified with the standard library and `bcrypt`:
`passlib` is no longer maintained, and what its successors add, formats of their own and policies, is not needed here.

| written as                                               | by                                      |
| -------------------------------------------------------- | --------------------------------------- |
| `$argon2id$v=19$m=…,t=…,p=…$…$…`, also argon2i, argon2d  | everybody; ours, and so not foreign     |
| `argon2$argon2id$…`                                      | Django; stored without its first word   |
| `$2b$12$…`, also 2a and 2y                               | Devise, Auth0, Passlib, PHP             |
| `bcrypt$$2b$12$…`, `bcrypt_sha256$$2b$12$…`              | Django                                  |
| `$bcrypt-sha256$v=2,t=2b,r=12$…$…`, `$bcrypt-sha256$2b,12$…$…` | Passlib                           |
| `pbkdf2_sha256$<iterations>$<salt>$…`, also sha1         | Django                                  |
| `$pbkdf2-sha256$<iterations>$…$…`, also `$pbkdf2$`, sha512 | Passlib                               |
| `$pbkdf2-sha512$i=<iterations>,l=64$…$…`                 | PHC strings, as Auth0 takes them        |
| `scrypt$<n>$<salt>$<r>$<p>$…`                            | Django                                  |
| `$scrypt$ln=16,r=8,p=1$…$…`                              | Passlib                                 |
"""

import binascii
import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import bcrypt

from authsvc.errors import InvalidRequest

# What one check may cost: about a second of one core and this much memory. Whoever guesses passwords makes us pay it.
MAX_BCRYPT_COST: Final = 14
MAX_PBKDF2_ITERATIONS: Final = 5_000_000  # for each block of the digest's size that is derived
MAX_MEMORY_KIB: Final = 128 * 1024
_MAX_SCRYPT_WORK: Final = 2**21  # n * r * p
_MAX_ARGON2_WORK: Final = 1024 * 1024  # KiB times passes
_MAX_LANES: Final = 16
_MAX_TEXT: Final = 1024
_MIN_SALT: Final = 8
_MIN_DIGEST: Final = 16  # a hash cut shorter would let other passwords in

_BCRYPT_MAX_BYTES: Final = 72  # it looks at no more, and the library refuses what the others cut

# The last character of salt and digest carries fewer bits than the others; only what encoders write is taken.
_BCRYPT = r"\$2[aby]\$(?P<cost>[0-9]{2})\$(?P<salt>[./A-Za-z0-9]{21}[.Oeu])(?P<digest>[./A-Za-z0-9]{31})"
_B64 = r"[A-Za-z0-9+/.]{1,512}={0,2}"
_NUMBER = r"[1-9][0-9]{0,9}"

_NATIVE = re.compile(
    r"\$argon2(?:id|i|d)\$(?:v=(?:16|19)\$)?m=(?P<m>[0-9]{1,9}),t=(?P<t>[0-9]{1,9}),p=(?P<p>[0-9]{1,4})"
    rf"\$(?P<salt>{_B64})\$(?P<hash>{_B64})"
)
_FORMS: Final = (
    ("bcrypt", re.compile(_BCRYPT)),
    ("django bcrypt", re.compile(rf"bcrypt\$(?P<inner>{_BCRYPT})")),
    ("django bcrypt_sha256", re.compile(rf"bcrypt_sha256\$(?P<inner>{_BCRYPT})")),
    (
        "passlib bcrypt-sha256",
        re.compile(
            r"\$bcrypt-sha256\$(?:(?P<v>v=2),t=(?P<t>2[ab]),r=(?P<r>[0-9]{1,2})|(?P<t1>2[ab]),(?P<r1>[0-9]{1,2}))"
            r"\$(?P<salt>[./A-Za-z0-9]{21}[.Oeu])\$(?P<digest>[./A-Za-z0-9]{31})"
        ),
    ),
    (
        "django pbkdf2",
        re.compile(rf"pbkdf2_(?P<digest>sha1|sha256)\$(?P<n>{_NUMBER})\$(?P<salt>[^$]{{1,256}})\$(?P<hash>{_B64})"),
    ),
    (
        "pbkdf2",
        re.compile(
            rf"\$pbkdf2(?:-(?P<digest>sha1|sha256|sha512))?\$(?:i=)?(?P<n>{_NUMBER})(?:,l=(?P<l>[0-9]{{1,3}}))?"
            rf"\$(?P<salt>{_B64})\$(?P<hash>{_B64})"
        ),
    ),
    (
        "django scrypt",
        re.compile(
            rf"scrypt\$(?P<n>{_NUMBER})\$(?P<salt>[^$]{{1,256}})\$(?P<r>{_NUMBER})\$(?P<p>{_NUMBER})\$(?P<hash>{_B64})"
        ),
    ),
    (
        "scrypt",
        re.compile(
            rf"\$scrypt\$ln=(?P<ln>[0-9]{{1,2}}),r=(?P<r>{_NUMBER}),p=(?P<p>{_NUMBER})\$(?P<salt>{_B64})\$(?P<hash>{_B64})"
        ),
    ),
)


class _Kind(Protocol):
    def refuse_costly(self) -> None:
        """Raise InvalidRequest if a check costs more than anybody may make us pay."""

    def admits(self, password: bytes) -> bool:
        """Whether the password is the one hashed."""


@dataclass(frozen=True, slots=True)
class _Bcrypt:
    """prepare: what is done to the password first."""

    encoded: str
    cost: int
    prepare: Callable[[bytes], bytes]

    def refuse_costly(self) -> None:
        if not 4 <= self.cost <= MAX_BCRYPT_COST:
            raise InvalidRequest(f"bcrypt with cost {self.cost}: 4 to {MAX_BCRYPT_COST} are taken")

    def admits(self, password: bytes) -> bool:
        return bcrypt.checkpw(self.prepare(password)[:_BCRYPT_MAX_BYTES], self.encoded.encode())


@dataclass(frozen=True, slots=True)
class _Pbkdf2:
    digest: str
    iterations: int
    salt: bytes
    hash: bytes

    def refuse_costly(self) -> None:
        _refuse_short(self.hash)
        blocks = -(-len(self.hash) // hashlib.new(self.digest).digest_size)
        if self.iterations * blocks > MAX_PBKDF2_ITERATIONS:
            raise InvalidRequest(f"PBKDF2 with {self.iterations} iterations: at most {MAX_PBKDF2_ITERATIONS} are taken")

    def admits(self, password: bytes) -> bool:
        derived = hashlib.pbkdf2_hmac(self.digest, password, self.salt, self.iterations, len(self.hash))
        return hmac.compare_digest(derived, self.hash)


@dataclass(frozen=True, slots=True)
class _Scrypt:
    n: int
    r: int
    p: int
    salt: bytes
    hash: bytes

    def refuse_costly(self) -> None:
        _refuse_short(self.hash)
        if self.n < 2 or self.n & (self.n - 1):
            raise InvalidRequest("scrypt: n is no power of two")
        if 128 * self.n * self.r > MAX_MEMORY_KIB * 1024 or self.n * self.r * self.p > _MAX_SCRYPT_WORK:
            raise InvalidRequest(f"scrypt with n={self.n}, r={self.r}, p={self.p}: at most 128 MiB and a second")

    def admits(self, password: bytes) -> bool:
        memory = 128 * self.r * (self.n + self.p + 2) + 65536  # what OpenSSL counts, and a little
        derived = hashlib.scrypt(
            password, salt=self.salt, n=self.n, r=self.r, p=self.p, maxmem=memory, dklen=len(self.hash)
        )
        return hmac.compare_digest(derived, self.hash)


def accept(text: str) -> str:
    """The form in which this hash is stored. Raises InvalidRequest, which says why and never repeats the hash."""
    text = text.removeprefix("argon2$") if text.startswith("argon2$argon2") else text
    if text.startswith("argon2"):  # Django leaves the first dollar to the separator
        text = f"${text}"
    if text.startswith("$argon2"):
        _refuse_costly_argon2(text)
    else:
        _parse(text).refuse_costly()
    return text


def is_foreign(stored: str) -> bool:
    """Whether a stored hash is none of argon2."""
    return not stored.startswith("$argon2")


def verify(stored: str, password: str) -> bool:
    """Whether the password is the one hashed. Takes a second at most. Raises InvalidRequest for what is no hash."""
    kind = _parse(stored)
    kind.refuse_costly()  # whatever way it came into the store
    return kind.admits(password.encode("utf-8", "surrogatepass"))


def phc_pbkdf2(digest: str, iterations: int, salt: bytes, hash_: bytes) -> str:
    """The text for what came in parts."""
    return f"$pbkdf2-{digest}$i={iterations}${_bare(salt)}${_bare(hash_)}"


def phc_scrypt(n: int, r: int, p: int, salt: bytes, hash_: bytes) -> str:
    if n < 2 or n & (n - 1):
        raise InvalidRequest("scrypt: n is no power of two")
    return f"$scrypt$ln={n.bit_length() - 1},r={r},p={p}${_bare(salt)}${_bare(hash_)}"


def phc_argon2(kind: str, version: int, memory_kib: int, passes: int, lanes: int, salt: bytes, hash_: bytes) -> str:
    return f"$argon2{kind}$v={version}$m={memory_kib},t={passes},p={lanes}${_bare(salt)}${_bare(hash_)}"


def _parse(text: str) -> _Kind:
    if len(text) > _MAX_TEXT:
        raise InvalidRequest("the hash is too long to be one")
    for name, form in _FORMS:
        if match := form.fullmatch(text):
            try:
                return _BUILDERS[name](match)
            except (binascii.Error, ValueError):
                raise InvalidRequest("the hash is damaged: not base64") from None
    raise InvalidRequest("not a hash of a kind that is taken, or a damaged one")


def _inner(match: re.Match[str], prepare: Callable[[bytes], bytes]) -> _Bcrypt:
    return _Bcrypt(match["inner"], int(match["cost"]), prepare)


def _passlib_bcrypt(match: re.Match[str]) -> _Bcrypt:
    salt, cost = match["salt"], int(match["r"] or match["r1"])
    encoded = f"${match['t'] or match['t1']}${cost:02}${salt}{match['digest']}"
    if match["v"]:
        return _Bcrypt(encoded, cost, lambda given: b64encode(hmac.digest(salt.encode(), given, "sha256")))
    return _Bcrypt(encoded, cost, lambda given: b64encode(hashlib.sha256(given).digest()))


def _pbkdf2(match: re.Match[str]) -> _Pbkdf2:
    hash_ = _bytes(match["hash"])
    if match["l"] and int(match["l"]) != len(hash_):
        raise InvalidRequest("the hash is damaged: not as long as it says")
    return _Pbkdf2(match["digest"] or "sha1", int(match["n"]), _bytes(match["salt"]), hash_)


_BUILDERS: dict[str, Callable[[re.Match[str]], _Kind]] = {
    "bcrypt": lambda match: _Bcrypt(match[0], int(match["cost"]), bytes),
    "django bcrypt": lambda match: _inner(match, bytes),
    "django bcrypt_sha256": lambda match: _inner(match, lambda given: hashlib.sha256(given).hexdigest().encode()),
    "passlib bcrypt-sha256": _passlib_bcrypt,
    "django pbkdf2": lambda match: _Pbkdf2(
        match["digest"], int(match["n"]), match["salt"].encode(), _bytes(match["hash"])
    ),
    "pbkdf2": _pbkdf2,
    "django scrypt": lambda match: _Scrypt(
        int(match["n"]), int(match["r"]), int(match["p"]), match["salt"].encode(), _bytes(match["hash"])
    ),
    "scrypt": lambda match: _Scrypt(
        2 ** int(match["ln"]), int(match["r"]), int(match["p"]), _bytes(match["salt"]), _bytes(match["hash"])
    ),
}


def _refuse_costly_argon2(text: str) -> None:
    match = _NATIVE.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if match is None:
        raise InvalidRequest("not a hash of a kind that is taken, or a damaged one")
    memory_kib, passes, lanes = int(match["m"]), int(match["t"]), int(match["p"])
    if memory_kib > MAX_MEMORY_KIB or memory_kib * passes > _MAX_ARGON2_WORK or lanes > _MAX_LANES:
        cost = f"m={memory_kib}, t={passes}, p={lanes}"
        raise InvalidRequest(f"argon2 with {cost}: at most 128 MiB, {_MAX_LANES} lanes and a second")
    if not passes or not lanes or memory_kib < 8 * lanes:
        raise InvalidRequest("the hash is damaged: argon2 has no such parameters")
    try:
        _refuse_short(_bytes(match["hash"]))
        salt = _bytes(match["salt"])
    except (binascii.Error, ValueError):
        raise InvalidRequest("the hash is damaged: not base64") from None
    if len(salt) < _MIN_SALT:
        raise InvalidRequest(f"argon2 takes no salt shorter than {_MIN_SALT} bytes")


def _refuse_short(hash_: bytes) -> None:
    if len(hash_) < _MIN_DIGEST:
        raise InvalidRequest(f"the hash is shorter than {_MIN_DIGEST} bytes")


def _bytes(text: str) -> bytes:
    """Passlib writes a dot for a plus, and most leave the padding out."""
    bare = text.rstrip("=").replace(".", "+")
    return b64decode(bare + "=" * (-len(bare) % 4), validate=True)


def _bare(raw: bytes) -> str:
    return b64encode(raw).decode().rstrip("=")
