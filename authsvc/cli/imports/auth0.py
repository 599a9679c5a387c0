"""The users that Auth0 exports: its fields, and the hashes that its customers brought along."""

from base64 import b64decode
from typing import Any

from authsvc.cli.imports.fields import flag, part, status
from authsvc.core.imported_hash_text import phc_scrypt
from authsvc.errors import InvalidRequest

_SCRYPT_DEFAULTS = {"cost": 16384, "blockSize": 8, "parallelization": 1}


def auth0_user(fields: dict[str, Any]) -> dict[str, Any]:
    oid = part(fields.get("_id"), "$oid")
    custom = fields.get("custom_password_hash")
    return {
        # The `sub` of Auth0's own tokens, which applications have stored.
        "sub": fields.get("user_id") or (f"auth0|{oid}" if oid else None),
        "password_hash": _custom_hash(custom) if isinstance(custom, dict) else fields.get("passwordHash"),
        "status": status(active=not flag(fields, "blocked", False)),
        "created_at": part(fields.get("created_at"), "$date"),
    }


def _custom_hash(custom: dict[str, Any]) -> Any:
    if custom.get("algorithm") not in ("bcrypt", "argon2", "pbkdf2", "scrypt"):
        raise InvalidRequest("custom_password_hash: an algorithm that is not taken")
    if custom["algorithm"] != "scrypt":  # the text of the other three has all parameters
        return part(custom.get("hash"), "value")
    try:
        cost, block, lanes = (
            default if custom.get(name) is None else int(custom[name]) for name, default in _SCRYPT_DEFAULTS.items()
        )
        return phc_scrypt(cost, block, lanes, _bytes(custom.get("salt"), "utf8"), _bytes(custom.get("hash"), "base64"))
    except (ValueError, TypeError, KeyError):
        raise InvalidRequest("custom_password_hash: not in the form that Auth0 gives it") from None


def _bytes(value: Any, default_encoding: str) -> bytes:
    text, encoding = value["value"], value.get("encoding", default_encoding)
    if encoding == "hex":
        return bytes.fromhex(text)
    return b64decode(text, validate=True) if encoding == "base64" else str(text).encode()
