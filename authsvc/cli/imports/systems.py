"""The systems that users can come from: which fields their exports have, and what those fields mean here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from authsvc.cli.imports.auth0 import auth0_user
from authsvc.cli.imports.fields import flag, status
from authsvc.cli.imports.firebase import FirebaseParameters, firebase_user
from authsvc.cli.imports.keycloak import keycloak_user
from authsvc.cli.imports.rows import printable_name
from authsvc.core.user_import import FIELDS
from authsvc.errors import InvalidRequest

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class System:
    """One kind of export. `translate`: from its fields to ours, but for the username.

    `usernames`: the fields that may hold the username; the first one with a value does. `known`: all fields of the
    export. docs/import.md says which of them are left out. `document`: whether the export is one JSON document.
    """

    translate: Callable[[dict[str, Any]], dict[str, Any]]
    usernames: tuple[str, ...]
    known: frozenset[str] = frozenset()
    document: bool = False

    def read(self, fields: Fields, *, username: str | None, ignore_unknown: bool) -> dict[str, Any]:
        """The fields in our own format. `username`: the field to take it from. Raises InvalidRequest."""
        flat = dict(_without_envelope(fields))
        if not ignore_unknown and (unknown := flat.keys() - self.known - {username}):
            raise InvalidRequest(f"unknown field: {printable_name(min(map(str, unknown)))}")
        candidates = (username,) if username else self.usernames
        name = next((flat[field] for field in candidates if flat.get(field)), None)
        return self.translate(flat) | {"username": name}


def _without_envelope(fields: Fields) -> Fields:
    """Django's dumpdata puts the fields of a row into a member `fields`."""
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
        "status": status(active=flag(fields, "is_active", True)),
        "roles": [group[0] for group in groups],
        "created_at": fields.get("date_joined"),
    }


def _devise(fields: dict[str, Any]) -> dict[str, Any]:
    created = fields.get("created_at")
    # Ruby and PostgreSQL write the zone as " UTC", which ISO 8601 does not have.
    return {
        "password_hash": fields.get("encrypted_password"),
        "created_at": created.removesuffix(" UTC") if isinstance(created, str) else created,
    }


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SYSTEMS: dict[str, System] = {
    "native": System(_native, ("username",), frozenset(FIELDS)),
    "django": System(
        _django,
        ("username",),
        _names(
            "id username password is_active date_joined groups last_login is_superuser is_staff first_name last_name "
            "email user_permissions"
        ),
    ),
    "devise": System(
        _devise,
        ("email",),
        _names(
            "id email encrypted_password created_at updated_at reset_password_token reset_password_sent_at "
            "remember_created_at sign_in_count current_sign_in_at last_sign_in_at current_sign_in_ip last_sign_in_ip "
            "confirmation_token confirmed_at confirmation_sent_at unconfirmed_email failed_attempts unlock_token "
            "locked_at"
        ),
    ),
    "auth0": System(
        auth0_user,
        ("username", "email"),
        _names(
            "_id user_id username email email_verified passwordHash custom_password_hash password_set_date created_at "
            "updated_at tenant connection _tmp_is_unique version identifiers migrated blocked name given_name "
            "family_name nickname picture user_metadata app_metadata"
        ),
    ),
    "firebase": System(
        firebase_user,
        ("email",),
        _names(
            "localId email emailVerified passwordHash salt displayName photoUrl lastSignedInAt createdAt phoneNumber "
            "disabled customAttributes providerUserInfo"
        ),
        document=True,
    ),
    "keycloak": System(
        keycloak_user,
        ("username",),
        _names(
            "id username enabled createdTimestamp realmRoles credentials email emailVerified firstName lastName totp "
            "requiredActions disableableCredentialTypes notBefore groups attributes clientRoles federatedIdentities "
            "clientConsents serviceAccountClientId access origin self federationLink"
        ),
        document=True,
    ),
}


def system_of(source: str, firebase_parameters: FirebaseParameters | None) -> System:
    """The system of this name. The hashes of Firebase need the parameters of their project."""
    system = SYSTEMS[source]
    if firebase_parameters is None:
        return system
    if source != "firebase":
        raise InvalidRequest("--firebase-parameters is for --from firebase")
    return replace(system, translate=partial(firebase_user, parameters=firebase_parameters))
