"""The texts of imported password hashes: reading them, and writing hashes that came in parts.

| text                                                     | written by                              |
| -------------------------------------------------------- | --------------------------------------- |
| `$argon2id$v=19$m=…,t=…,p=…$…$…`, also argon2i, argon2d  | this service, and many others           |
| `argon2$argon2id$…`                                      | Django; stored without its first word   |
| `$2b$12$…`, also 2a and 2y                               | Devise, Auth0, Passlib, PHP             |
| `bcrypt$$2b$12$…`, `bcrypt_sha256$$2b$12$…`              | Django                                  |
| `$bcrypt-sha256$v=2,t=2b,r=12$…$…`, `$bcrypt-sha256$2b,12$…$…` | Passlib                           |
| `pbkdf2_sha256$<iterations>$<salt>$…`, also sha1         | Django                                  |
| `$pbkdf2-sha256$<iterations>$…$…`, also `$pbkdf2$`, sha512 | Passlib                               |
| `$pbkdf2-sha512$i=<iterations>,l=64$…$…`                 | PHC strings, as Auth0 takes them        |
| `$6$rounds=<rounds>$…$…`, also without rounds            | SHA-512-crypt: Linux, dovecot, Passlib  |
| `$P$B…`, also `$H$`                                      | phpass: WordPress, phpBB                |
| base64 of a byte 0 or 1 and more                         | ASP.NET Core; stored as `$pbkdf2-…$i=…` |
| `{bcrypt}$2b$…`, `{argon2}$argon2id$…`                   | Spring; stored without the prefix       |
| `{SSHA}…`, also `{SSHA256}`, `{SSHA512}`                 | LDAP servers, dovecot, Passlib          |
| `scrypt$<n>$<salt>$<r>$<p>$…`                            | Django                                  |
| `$scrypt$ln=16,r=8,p=1$…$…`                              | Passlib                                 |
| `$firebase-scrypt$ln=14,r=8$…$…`                         | `firebase_scrypt`, from Firebase's export |
"""

import binascii
import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from authsvc.core.hash_form import Form
from authsvc.core.imported_hash import (
    Argon2,
    Bcrypt,
    BcryptInput,
    FirebaseScrypt,
    ImportedHash,
    Pbkdf2,
    Phpass,
    SaltedSha,
    Scrypt,
    Sha512Crypt,
    check_power_of_two,
)
from authsvc.errors import InvalidRequest

_MAX_TEXT: Final = 1024

# The last character of salt and digest carries fewer bits than the others, so an encoder writes few of them there.
_BCRYPT = r"\$2[aby]\$(?P<cost>[0-9]{2})\$(?P<salt>[./A-Za-z0-9]{21}[.Oeu])(?P<digest>[./A-Za-z0-9]{31})"
_B64 = r"[A-Za-z0-9+/.]{1,512}={0,2}"
_NUMBER = r"[1-9][0-9]{0,9}"

_SPRING: Final = ("{bcrypt}", "{argon2@SpringSecurity_v5_8}", "{argon2}")
_ASPNET: Final = re.compile(r"A[A-Za-z0-9+/]{65,510}={0,2}")
_ASPNET_DIGESTS: Final = ("sha1", "sha256", "sha512")

_CRYPT64: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_ARGON2 = re.compile(
    r"\$argon2(?P<kind>id|i|d)\$(?:v=(?:16|19)\$)?m=(?P<m>[0-9]{1,9}),t=(?P<t>[0-9]{1,9}),p=(?P<p>[0-9]{1,4})"
    rf"\$(?P<salt>{_B64})\$(?P<hash>{_B64})"
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A hash in the text that the service stores, and its form."""

    text: str = field(repr=False)
    form: Form


def accept(text: str) -> Accepted:
    """Take a hash from another system. Raises InvalidRequest; its text never repeats the hash."""
    text = _without_prefix(text)
    text = text.removeprefix("argon2$") if text.startswith("argon2$argon2") else text
    if text.startswith("argon2"):  # Django leaves the first dollar to the separator
        text = f"${text}"
    text = _aspnet(text) or text
    parsed = parse(text)
    parsed.check_parameters()
    return Accepted(text, parsed.form)


def _without_prefix(text: str) -> str:
    """Spring writes the kind of a hash before it."""
    if text.startswith("{noop}"):
        raise InvalidRequest("{noop}: a password in the clear, which is never taken; give the user a reset code")
    for prefix in _SPRING:
        text = text.removeprefix(prefix)
    return text


def _aspnet(text: str) -> str | None:
    """The PHC text of a hash of ASP.NET Core Identity; None if this is not one.

    There are two versions, 2 and 3. Both are base64, and begin with a byte 0 or 1. In version 3 three big-endian
    numbers follow: digest, iterations, length of the salt. Both end with the salt and 32 bytes of PBKDF2.
    """
    if not _ASPNET.fullmatch(text):
        return None
    try:
        raw = b64decode(text, validate=True)
    except binascii.Error:
        return None
    if raw[0] == 0 and len(raw) == 49:
        return phc_pbkdf2("sha1", 1000, raw[1:17], raw[17:])
    if raw[0] != 1 or len(raw) < 13:
        return None
    digest, iterations, salt_length = (int.from_bytes(raw[at : at + 4]) for at in (1, 5, 9))
    salt, hash_ = raw[13 : 13 + salt_length], raw[13 + salt_length :]
    if digest >= len(_ASPNET_DIGESTS) or len(salt) != salt_length or not hash_:
        raise InvalidRequest("the hash is damaged: ASP.NET has no such parameters")
    return phc_pbkdf2(_ASPNET_DIGESTS[digest], iterations, salt, hash_)


def parse(text: str) -> ImportedHash:
    """The parts of a hash. Raises InvalidRequest for damaged texts and for kinds that the service does not take."""
    if len(text) > _MAX_TEXT:
        raise InvalidRequest("the hash is too long to be one")
    for form, build in _FORMS:
        if match := form.fullmatch(text):
            try:
                return build(match)
            except (binascii.Error, ValueError):
                raise InvalidRequest("the hash is damaged: not base64") from None
    raise InvalidRequest("not a hash of a kind that is taken, or a damaged one")


def problem_of(stored: str) -> str | None:
    """Why no password can be checked against a stored hash; None if one can."""
    try:
        parse(stored).check_parameters()
    except InvalidRequest as error:
        return str(error)
    return None


def phc_pbkdf2(digest: str, iterations: int, salt: bytes, hash_: bytes) -> str:
    """The text of a hash that came in parts."""
    return f"$pbkdf2-{digest}$i={iterations}${_encoded(salt)}${_encoded(hash_)}"


def phc_scrypt(n: int, r: int, p: int, salt: bytes, hash_: bytes) -> str:
    check_power_of_two(n)
    return f"$scrypt$ln={n.bit_length() - 1},r={r},p={p}${_encoded(salt)}${_encoded(hash_)}"


def phc_argon2(kind: str, version: int, memory_kib: int, passes: int, lanes: int, salt: bytes, hash_: bytes) -> str:
    parameters = f"m={memory_kib},t={passes},p={lanes}"
    return f"$argon2{kind}$v={version}${parameters}${_encoded(salt)}${_encoded(hash_)}"


def firebase_scrypt(mem_cost: int, rounds: int, salt: bytes, keystream: bytes) -> str:
    """The text of a hash of Firebase; `FirebaseScrypt` says what the parts are."""
    return f"$firebase-scrypt$ln={mem_cost},r={rounds}${_encoded(salt)}${_encoded(keystream)}"


def _argon2(match: re.Match[str]) -> Argon2:
    salt, hash_ = _decoded(match["salt"]), _decoded(match["hash"])
    return Argon2(match[0], match["kind"], int(match["m"]), int(match["t"]), int(match["p"]), salt, hash_)


def _bcrypt(match: re.Match[str]) -> Bcrypt:
    return Bcrypt(match[0], int(match["cost"]))


def _bcrypt_in_django(digest: BcryptInput) -> Callable[[re.Match[str]], Bcrypt]:
    return lambda match: Bcrypt(match["inner"], int(match["cost"]), digest)


def _bcrypt_in_passlib(match: re.Match[str]) -> Bcrypt:
    cost = int(match["r"] or match["r1"])
    encoded = f"${match['t'] or match['t1']}${cost:02}${match['salt']}{match['digest']}"
    return Bcrypt(encoded, cost, "hmac base64" if match["v"] else "sha256 base64")


def _pbkdf2_in_django(match: re.Match[str]) -> Pbkdf2:
    return Pbkdf2(match["digest"], int(match["n"]), match["salt"].encode(), _decoded(match["hash"]))


def _pbkdf2(match: re.Match[str]) -> Pbkdf2:
    hash_ = _decoded(match["hash"])
    if match["l"] and int(match["l"]) != len(hash_):
        raise InvalidRequest("the hash is damaged: not as long as it says")
    return Pbkdf2(match["digest"] or "sha1", int(match["n"]), _decoded(match["salt"]), hash_)


def _scrypt_in_django(match: re.Match[str]) -> Scrypt:
    n, r, p = (int(match[name]) for name in "nrp")
    return Scrypt(n, r, p, match["salt"].encode(), _decoded(match["hash"]))


def _sha512_crypt(match: re.Match[str]) -> Sha512Crypt:
    return Sha512Crypt(match[0], int(match["rounds"] or 5000))


def _phpass(match: re.Match[str]) -> Phpass:
    return Phpass(2 ** _CRYPT64.index(match["log2"]), match["salt"].encode(), _crypt64_decoded(match["hash"]))


def _salted_sha(match: re.Match[str]) -> SaltedSha:
    digest = f"sha{match['bits'] or 1}"
    raw, size = _decoded(match["raw"]), hashlib.new(digest).digest_size
    return SaltedSha(digest, raw[size:], raw[:size])


def _crypt64_decoded(text: str) -> bytes:
    """The base64 of crypt, which begins with the lowest bits."""
    bits = sum(_CRYPT64.index(char) << 6 * place for place, char in enumerate(text))
    return bits.to_bytes(-(-len(text) * 6 // 8), "little")[: len(text) * 6 // 8]


def _scrypt(match: re.Match[str]) -> Scrypt:
    n, r, p = 2 ** int(match["ln"]), int(match["r"]), int(match["p"])
    return Scrypt(n, r, p, _decoded(match["salt"]), _decoded(match["hash"]))


def _firebase_scrypt(match: re.Match[str]) -> FirebaseScrypt:
    return FirebaseScrypt(2 ** int(match["ln"]), int(match["r"]), _decoded(match["salt"]), _decoded(match["hash"]))


def _decoded(text: str) -> bytes:
    """Passlib writes a dot for a plus, and most systems leave the padding out."""
    bare = text.rstrip("=").replace(".", "+")
    return b64decode(bare + "=" * (-len(bare) % 4), validate=True)


def _encoded(raw: bytes) -> str:
    return b64encode(raw).decode().rstrip("=")


# In the order of the table above. No text matches two of them.
_FORMS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], ImportedHash]], ...]] = (
    (_ARGON2, _argon2),
    (re.compile(_BCRYPT), _bcrypt),
    (re.compile(rf"bcrypt\$(?P<inner>{_BCRYPT})"), _bcrypt_in_django("password")),
    (re.compile(rf"bcrypt_sha256\$(?P<inner>{_BCRYPT})"), _bcrypt_in_django("sha256 hex")),
    (
        re.compile(
            r"\$bcrypt-sha256\$(?:(?P<v>v=2),t=(?P<t>2[ab]),r=(?P<r>[0-9]{1,2})|(?P<t1>2[ab]),(?P<r1>[0-9]{1,2}))"
            r"\$(?P<salt>[./A-Za-z0-9]{21}[.Oeu])\$(?P<digest>[./A-Za-z0-9]{31})"
        ),
        _bcrypt_in_passlib,
    ),
    (re.compile(r"\$6\$(?:rounds=(?P<rounds>[0-9]{1,9})\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}"), _sha512_crypt),
    (
        re.compile(r"\$[PH]\$(?P<log2>[./0-9A-Za-z])(?P<salt>[./0-9A-Za-z]{8})(?P<hash>[./0-9A-Za-z]{22})"),
        _phpass,
    ),
    (re.compile(rf"\{{(?i:SSHA)(?P<bits>256|512)?\}}(?P<raw>{_B64})"), _salted_sha),
    (
        re.compile(rf"pbkdf2_(?P<digest>sha1|sha256)\$(?P<n>{_NUMBER})\$(?P<salt>[^$]{{1,256}})\$(?P<hash>{_B64})"),
        _pbkdf2_in_django,
    ),
    (
        re.compile(
            rf"\$pbkdf2(?:-(?P<digest>sha1|sha256|sha512))?\$(?:i=)?(?P<n>{_NUMBER})(?:,l=(?P<l>[0-9]{{1,3}}))?"
            rf"\$(?P<salt>{_B64})\$(?P<hash>{_B64})"
        ),
        _pbkdf2,
    ),
    (
        re.compile(
            rf"scrypt\$(?P<n>{_NUMBER})\$(?P<salt>[^$]{{1,256}})\$(?P<r>{_NUMBER})\$(?P<p>{_NUMBER})\$(?P<hash>{_B64})"
        ),
        _scrypt_in_django,
    ),
    (
        re.compile(
            rf"\$scrypt\$ln=(?P<ln>[0-9]{{1,2}}),r=(?P<r>{_NUMBER}),p=(?P<p>{_NUMBER})\$(?P<salt>{_B64})\$(?P<hash>{_B64})"
        ),
        _scrypt,
    ),
    (
        re.compile(
            rf"\$firebase-scrypt\$ln=(?P<ln>[0-9]{{1,2}}),r=(?P<r>{_NUMBER})\$(?P<salt>{_B64})\$(?P<hash>{_B64})"
        ),
        _firebase_scrypt,
    ),
)
