"""What the fields of each kind of export mean: into those of our own format."""

import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from authsvc.cli.rows import printable_name
from authsvc.core.imported_hash_text import phc_argon2, phc_pbkdf2, phc_scrypt
from authsvc.core.user_import import FIELDS
from authsvc.errors import InvalidRequest

Fields = Mapping[str, Any]
_YES, _NO = ("t", "true", "1", "yes"), ("f", "false", "0", "no", "")


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of export. names: the fields that may be the username, the first that has a value.

    known: fields it has besides; what is not taken over from them is in docs/import.md.
    """

    translate: Callable[[dict[str, Any]], dict[str, Any]]
    names: tuple[str, ...]
    known: frozenset[str] = frozenset()

    def read(self, fields: Fields, *, username: str | None, ignore_unknown: bool) -> dict[str, Any]:
        """The fields of our own format. username: the field to take it from. Raises InvalidRequest."""
        flat = dict(_flat(fields))
        if not ignore_unknown and (unknown := flat.keys() - self.known - {username}):
            raise InvalidRequest(f"unknown field: {printable_name(min(map(str, unknown)))}")
        name = next((flat[field] for field in (username and (username,)) or self.names if flat.get(field)), None)
        return self.translate(flat) | {"username": name}


def _flat(fields: Fields) -> Fields:
    """Without the envelope that Django's dumpdata puts around the fields of a row."""
    inner = fields.get("fields")
    return inner if isinstance(inner, dict) and "model" in fields else fields


def _native(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: fields.get(name) for name in FIELDS}


def _django(fields: dict[str, Any]) -> dict[str, Any]:
    hash_ = fields.get("password")
    unusable = isinstance(hash_, str) and hash_.startswith("!")
    groups = fields.get("groups") or []
    if not isinstance(groups, list) or not all(isinstance(group, list) and len(group) == 1 for group in groups):
        raise InvalidRequest("groups are numbers: dump them with --natural-foreign")
    return {
        "password_hash": None if unusable else hash_,
        "status": "active" if _flag(fields, "is_active", True) else "suspended",
        "roles": [group[0] for group in groups],
        "created_at": fields.get("date_joined"),
    }


def _devise(fields: dict[str, Any]) -> dict[str, Any]:
    created = fields.get("created_at")
    # Ruby and PostgreSQL write a zone that ISO 8601 does not know.
    return {
        "password_hash": fields.get("encrypted_password"),
        "created_at": created.removesuffix(" UTC") if isinstance(created, str) else created,
    }


def _auth0(fields: dict[str, Any]) -> dict[str, Any]:
    oid = _part(fields.get("_id"), "$oid")
    hash_ = fields.get("passwordHash")
    custom = fields.get("custom_password_hash")
    return {
        # What its tokens say, so that what applications have stored stays true.
        "sub": fields.get("user_id") or (f"auth0|{oid}" if oid else None),
        "password_hash": _auth0_custom(custom) if isinstance(custom, dict) else hash_,
        "status": "suspended" if _flag(fields, "blocked", False) else "active",
        "created_at": _part(fields.get("created_at"), "$date"),
    }


def _auth0_custom(custom: dict[str, Any]) -> Any:
    value = _part(custom.get("hash"), "value")
    if custom.get("algorithm") not in ("bcrypt", "argon2", "pbkdf2", "scrypt"):
        raise InvalidRequest("custom_password_hash: an algorithm that is not taken")
    if custom["algorithm"] != "scrypt":  # these are texts with everything in them
        return value
    try:
        salt = _encoded(custom.get("salt"), "utf8")
        cost, block, lanes = (custom.get(name) for name in ("cost", "blockSize", "parallelization"))
        cost, block, lanes = (
            default if one is None else one for one, default in ((cost, 16384), (block, 8), (lanes, 1))
        )
        return phc_scrypt(int(cost), int(block), int(lanes), salt, _encoded(custom.get("hash"), "base64"))
    except (ValueError, TypeError):
        raise InvalidRequest("custom_password_hash: not in the form that Auth0 gives it") from None


def _encoded(part: Any, otherwise: str) -> bytes:
    value, encoding = part["value"], part.get("encoding", otherwise)
    if encoding == "hex":
        return bytes.fromhex(value)
    return b64decode(value, validate=True) if encoding == "base64" else str(value).encode()


def _keycloak(fields: dict[str, Any]) -> dict[str, Any]:
    if fields.get("serviceAccountClientId"):
        raise InvalidRequest("a service account: make a client for it")
    roles = fields.get("realmRoles") or []
    created = fields.get("createdTimestamp")
    return {
        "sub": fields.get("id"),  # what its tokens say
        "password_hash": _keycloak_hash(fields.get("credentials") or []),
        "status": "active" if _flag(fields, "enabled", True) else "suspended",
        "roles": [role for role in roles if not _keycloak_own(role)],
        "created_at": created / 1000 if isinstance(created, int) else created,
    }


def _keycloak_own(role: Any) -> bool:
    return isinstance(role, str) and (
        role.startswith("default-roles-") or role in ("offline_access", "uma_authorization")
    )


def _keycloak_hash(credentials: Any) -> str | None:
    try:
        held = next((one for one in credentials if one.get("type") == "password"), None)
        if held is None:
            return None
        data, secret = json.loads(held["credentialData"]), json.loads(held["secretData"])
        salt, hash_ = (b64decode(secret[name], validate=True) for name in ("salt", "value"))
        iterations, more = int(data["hashIterations"]), data.get("additionalParameters") or {}
        algorithm = str(data["algorithm"])
        if algorithm == "argon2":
            version = {"1.0": 16, "1.3": 19}[more["version"][0]]
            memory, lanes = int(more["memory"][0]), int(more["parallelism"][0])
            return phc_argon2(more["type"][0], version, memory, iterations, lanes, salt, hash_)
        digest = {"pbkdf2": "sha1", "pbkdf2-sha256": "sha256", "pbkdf2-sha512": "sha512"}[algorithm]
        return phc_pbkdf2(digest, iterations, salt, hash_)
    except KeyError:
        raise InvalidRequest("credentials: an algorithm that is not taken, or a part is missing") from None
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError):
        raise InvalidRequest("credentials: not in the form that Keycloak gives them") from None


def _fields(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _flag(fields: Fields, name: str, otherwise: bool) -> bool:
    value = fields.get(name)
    if value is None:
        return otherwise
    text = str(value).lower()
    if text not in _YES + _NO:
        raise InvalidRequest(f"{name}: neither yes nor no")
    return text in _YES


def _part(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else value


SOURCES: dict[str, Source] = {
    "native": Source(_native, ("username",), frozenset(FIELDS)),
    "django": Source(
        _django,
        ("username",),
        _fields(
            "id username password is_active date_joined groups last_login is_superuser is_staff first_name last_name "
            "email user_permissions"
        ),
    ),
    "devise": Source(
        _devise,
        ("email",),
        _fields(
            "id email encrypted_password created_at updated_at reset_password_token reset_password_sent_at "
            "remember_created_at sign_in_count current_sign_in_at last_sign_in_at current_sign_in_ip last_sign_in_ip "
            "confirmation_token confirmed_at confirmation_sent_at unconfirmed_email failed_attempts unlock_token "
            "locked_at"
        ),
    ),
    "auth0": Source(
        _auth0,
        ("username", "email"),
        _fields(
            "_id user_id username email email_verified passwordHash custom_password_hash password_set_date created_at "
            "updated_at tenant connection _tmp_is_unique version identifiers migrated blocked name given_name "
            "family_name nickname picture user_metadata app_metadata"
        ),
    ),
    "keycloak": Source(
        _keycloak,
        ("username",),
        _fields(
            "id username enabled createdTimestamp realmRoles credentials email emailVerified firstName lastName totp "
            "requiredActions disableableCredentialTypes notBefore groups attributes clientRoles federatedIdentities "
            "clientConsents serviceAccountClientId access origin self federationLink"
        ),
    ),
}
