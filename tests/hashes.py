"""Password hashes of other systems, made by the libraries of those systems with the cheapest parameters."""

import json
from base64 import b64decode, b64encode
from hashlib import pbkdf2_hmac
from hashlib import scrypt as scrypt_of
from typing import Any

import argon2.low_level
import bcrypt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
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

import tests.django_project  # noqa: F401 - before anything that reads the settings
from authsvc.cli.imports.firebase import FirebaseParameters

PASSWORD = "a pässword of old"


def _django(kind: Any, **cheap: int) -> str:
    hasher = kind()
    for name, value in cheap.items():
        setattr(hasher, name, value)
    return str(hasher.encode(PASSWORD, hasher.salt()))


def _bcrypt(version: bytes) -> str:
    return (b"$" + version + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4))[3:]).decode()


# The hash parameters of a Firebase project, which are cheaper than those of a real one.
FIREBASE = {
    "base64_signer_key": b64encode(bytes(range(100, 164))).decode(),
    "base64_salt_separator": "Bw==",
    "rounds": 8,
    "mem_cost": 4,
}


def firebase(password: str, separator: bytes = b"\7") -> dict[str, str]:
    """The salt and the hash of a user, as `firebase auth:export` writes them."""
    salt, signer = b"ten bytes.", bytes(range(100, 164))
    key = scrypt_of(password.encode(), salt=salt + separator, n=2**4, r=8, p=1, dklen=64)[:32]
    hash_ = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(signer)
    return {"passwordHash": b64encode(hash_).decode(), "salt": b64encode(salt).decode()}


def _firebase() -> str:
    parameters = FirebaseParameters(bytes(range(100, 164)), b"\7", 8, 4)
    exported = firebase(PASSWORD)
    return parameters.text_of(b64decode(exported["passwordHash"]), b64decode(exported["salt"]))


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
    "firebase": _firebase(),
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
