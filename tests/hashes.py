"""Password hashes of other systems, made by the libraries of those systems with the cheapest parameters."""

import json
from base64 import b64encode
from hashlib import pbkdf2_hmac
from typing import Any

import argon2.low_level
import bcrypt
from django.conf import settings
from django.contrib.auth import hashers
from passlib.hash import argon2 as passlib_argon2
from passlib.hash import bcrypt as passlib_bcrypt
from passlib.hash import (
    bcrypt_sha256,
    ldap_salted_sha1,
    ldap_salted_sha256,
    ldap_salted_sha512,
    pbkdf2_sha1,
    pbkdf2_sha256,
    pbkdf2_sha512,
    phpass,
    scrypt,
    sha512_crypt,
)

PASSWORD = "a pässword of old"

if not settings.configured:
    settings.configure()


def _django(kind: Any, **cheap: int) -> str:
    hasher = kind()
    for name, value in cheap.items():
        setattr(hasher, name, value)
    return str(hasher.encode(PASSWORD, hasher.salt()))


def _bcrypt(version: bytes) -> str:
    return (b"$" + version + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4))[3:]).decode()


# Hashes by their origin. The bcrypt of Devise writes `2a`, and PHP writes `2y`.
SAMPLES: dict[str, str] = {
    "devise": _bcrypt(b"2a"),
    "auth0": _bcrypt(b"2b"),
    "php": _bcrypt(b"2y"),
    "django pbkdf2": _django(hashers.PBKDF2PasswordHasher, iterations=20),
    "django pbkdf2 sha1": _django(hashers.PBKDF2SHA1PasswordHasher, iterations=20),
    "django argon2": _django(hashers.Argon2PasswordHasher, memory_cost=64),
    "django bcrypt": _django(hashers.BCryptPasswordHasher, rounds=4),
    "django bcrypt sha256": _django(hashers.BCryptSHA256PasswordHasher, rounds=4),
    "django scrypt": _django(hashers.ScryptPasswordHasher, work_factor=16),
    "passlib bcrypt": passlib_bcrypt.using(rounds=4).hash(PASSWORD),
    "passlib bcrypt sha256": bcrypt_sha256.using(rounds=4).hash(PASSWORD),
    "passlib bcrypt sha256 v1": bcrypt_sha256.using(rounds=4, version=1).hash(PASSWORD),
    "passlib pbkdf2": pbkdf2_sha1.using(rounds=20).hash(PASSWORD),
    "passlib pbkdf2 sha256": pbkdf2_sha256.using(rounds=20).hash(PASSWORD),
    "passlib pbkdf2 sha512": pbkdf2_sha512.using(rounds=20).hash(PASSWORD),
    "passlib scrypt": scrypt.using(rounds=4).hash(PASSWORD),
    "sha512 crypt": sha512_crypt.using(rounds=1000).hash(PASSWORD),
    "sha512 crypt default": sha512_crypt.using(rounds=5000).hash(PASSWORD),
    "phpass": phpass.using(rounds=7).hash(PASSWORD),
    "phpbb": phpass.using(rounds=7, ident="H").hash(PASSWORD),
    "ldap sha1": ldap_salted_sha1.hash(PASSWORD),
    "ldap sha256": ldap_salted_sha256.hash(PASSWORD),
    "ldap sha512": ldap_salted_sha512.hash(PASSWORD),
    "passlib argon2": passlib_argon2.using(rounds=1, memory_cost=64).hash(PASSWORD),
}

# The samples that argon2 did not make.
IMPORTED = {name: text for name, text in SAMPLES.items() if "argon2" not in name}


def keycloak(algorithm: str) -> dict[str, str]:
    """A credential of a Keycloak realm export. It is built here, because no Python package contains Keycloak."""
    salt = b"sixteen bytes ok"
    if algorithm == "argon2":
        kind = argon2.low_level.Type.ID
        derived = argon2.low_level.hash_secret_raw(PASSWORD.encode(), salt, 5, 7168, 1, 32, kind)
        parameters = {
            "hashLength": ["32"],
            "memory": ["7168"],
            "type": ["id"],
            "version": ["1.3"],
            "parallelism": ["1"],
        }
        iterations = 5
    else:
        digest = {"pbkdf2": "sha1", "pbkdf2-sha256": "sha256", "pbkdf2-sha512": "sha512"}[algorithm]
        iterations, parameters = 20, {}
        derived = pbkdf2_hmac(digest, PASSWORD.encode(), salt, iterations, 64)
    data = {"hashIterations": iterations, "algorithm": algorithm, "additionalParameters": parameters}
    secret = {"value": b64encode(derived).decode(), "salt": b64encode(salt).decode(), "additionalParameters": {}}
    return {"type": "password", "secretData": json.dumps(secret), "credentialData": json.dumps(data)}
