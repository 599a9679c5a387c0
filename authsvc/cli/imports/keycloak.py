"""The users of a Keycloak realm export: their fields and their password hashes."""

import json
from base64 import b64decode
from typing import Any

from authsvc.cli.imports.fields import flag, status
from authsvc.core.imported_hash_text import phc_argon2, phc_pbkdf2
from authsvc.errors import InvalidRequest

_PBKDF2_DIGESTS = {"pbkdf2": "sha1", "pbkdf2-sha256": "sha256", "pbkdf2-sha512": "sha512"}
_ARGON2_VERSIONS = {"1.0": 16, "1.3": 19}


def keycloak_user(fields: dict[str, Any]) -> dict[str, Any]:
    if fields.get("serviceAccountClientId"):
        raise InvalidRequest("a service account: make a client for it")
    created = fields.get("createdTimestamp")
    return {
        "sub": fields.get("id"),  # the `sub` of Keycloak's own tokens
        "password_hash": _hash(fields.get("credentials") or []),
        "status": status(active=flag(fields, "enabled", True)),
        "roles": [role for role in fields.get("realmRoles") or [] if not _is_built_in(role)],
        "created_at": created / 1000 if isinstance(created, int) else created,
    }


def _is_built_in(role: Any) -> bool:
    """Whether Keycloak gives this role to everybody."""
    return isinstance(role, str) and (
        role.startswith("default-roles-") or role in ("offline_access", "uma_authorization")
    )


def _hash(credentials: Any) -> str | None:
    try:
        held = next((one for one in credentials if one.get("type") == "password"), None)
        return None if held is None else _phc(json.loads(held["credentialData"]), json.loads(held["secretData"]))
    except KeyError:
        raise InvalidRequest("credentials: an algorithm that is not taken, or a part is missing") from None
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError):
        raise InvalidRequest("credentials: not in the form that Keycloak gives them") from None


def _phc(data: dict[str, Any], secret: dict[str, Any]) -> str:
    salt, hash_ = (b64decode(secret[name], validate=True) for name in ("salt", "value"))
    iterations, algorithm = int(data["hashIterations"]), str(data["algorithm"])
    if algorithm != "argon2":
        return phc_pbkdf2(_PBKDF2_DIGESTS[algorithm], iterations, salt, hash_)
    more = data.get("additionalParameters") or {}
    version = _ARGON2_VERSIONS[more["version"][0]]
    memory_kib, lanes = int(more["memory"][0]), int(more["parallelism"][0])
    return phc_argon2(more["type"][0], version, memory_kib, iterations, lanes, salt, hash_)
