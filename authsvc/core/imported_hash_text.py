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
| `scrypt$<n>$<salt>$<r>$<p>$…`                            | Django                                  |
| `$scrypt$ln=16,r=8,p=1$…$…`                              | Passlib                                 |
"""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from authsvc.core.hash_form import Form
from authsvc.core.imported_hash import Argon2, Bcrypt, BcryptInput, ImportedHash, Pbkdf2, Scrypt, check_power_of_two
from authsvc.errors import InvalidRequest

_MAX_TEXT: Final = 1024

# The last character of salt and digest carries fewer bits than the others, so an encoder writes few of them there.
_BCRYPT = r"\$2[aby]\$(?P<cost>[0-9]{2})\$(?P<salt>[./A-Za-z0-9]{21}[.Oeu])(?P<digest>[./A-Za-z0-9]{31})"
_B64 = r"[A-Za-z0-9+/.]{1,512}={0,2}"
_NUMBER = r"[1-9][0-9]{0,9}"

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
    text = text.removeprefix("argon2$") if text.startswith("argon2$argon2") else text
    if text.startswith("argon2"):  # Django leaves the first dollar to the separator
        text = f"${text}"
    parsed = parse(text)
    parsed.check_parameters()
    return Accepted(text, parsed.form)


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


def _scrypt(match: re.Match[str]) -> Scrypt:
    n, r, p = 2 ** int(match["ln"]), int(match["r"]), int(match["p"])
    return Scrypt(n, r, p, _decoded(match["salt"]), _decoded(match["hash"]))


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
)
