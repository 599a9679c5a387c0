"""The users that `firebase auth:export` writes, and the parameters of the project that their hashes need."""

from base64 import b64decode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from authsvc.cli.imports.fields import flag, status
from authsvc.core.imported_hash_text import firebase_scrypt
from authsvc.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class FirebaseParameters:
    """The hash parameters of a project, under the names that the Firebase console gives them."""

    base64_signer_key: bytes = field(repr=False)
    base64_salt_separator: bytes
    rounds: int
    mem_cost: int

    @classmethod
    def read(cls, path: Path) -> "FirebaseParameters":
        """Read a JSON file. Raises InvalidRequest, which never repeats the signer key: the key is a secret."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise InvalidRequest(f"--firebase-parameters: {error.strerror}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            need = "base64_signer_key, base64_salt_separator, rounds, mem_cost"
            raise InvalidRequest(f"--firebase-parameters: not a JSON object with {need}") from None

    def text_of(self, hash_: bytes, salt: bytes) -> str:
        """The text of a hash as it is stored. The signer key is not in it."""
        if len(hash_) != len(self.base64_signer_key):
            raise InvalidRequest("passwordHash: not as long as the signer key, which may be of another project")
        # Firebase encrypts the signer key by adding a keystream to it. The keystream alone proves the password.
        stream = bytes(a ^ b for a, b in zip(hash_, self.base64_signer_key, strict=True))
        return firebase_scrypt(self.mem_cost, self.rounds, salt + self.base64_salt_separator, stream)


def firebase_user(fields: dict[str, Any], parameters: FirebaseParameters | None = None) -> dict[str, Any]:
    return {
        "sub": fields.get("localId"),  # the `sub` of Firebase's own tokens
        "password_hash": _hash(fields, parameters) if fields.get("passwordHash") else None,
        "claims": fields.get("customAttributes"),
        "status": status(active=not flag(fields, "disabled", False)),
        "created_at": _seconds(fields.get("createdAt")),
    }


def _hash(fields: dict[str, Any], parameters: FirebaseParameters | None) -> str:
    if parameters is None:
        raise InvalidRequest("passwordHash: give the hash parameters of the project with --firebase-parameters FILE")
    try:
        hash_, salt = (b64decode(fields[name], validate=True) for name in ("passwordHash", "salt"))
    except (KeyError, ValueError, TypeError):
        raise InvalidRequest("passwordHash, salt: not in the form that Firebase gives them") from None
    return parameters.text_of(hash_, salt)


def _seconds(milliseconds: Any) -> Any:
    """The seconds of a time that Firebase writes as a text of milliseconds."""
    if milliseconds is None:
        return None
    try:
        return int(milliseconds) / 1000
    except (ValueError, TypeError, OverflowError):
        raise InvalidRequest("createdAt: not in milliseconds") from None
