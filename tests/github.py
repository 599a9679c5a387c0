"""GitHub's reports of leaked tokens, signed by a key that the tests have made."""

import json
from base64 import b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY = ec.generate_private_key(ec.SECP256R1())
KEY_ID = "90a421169f0a406205f1563a953312f0be898d3c7b6c06b681aa86a874555f4a"


def published(*keys: tuple[str, Any]) -> str:
    """The answer of GitHub that has these keys."""
    listed = [
        {
            "key_identifier": name,
            "key": key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
            "is_current": True,
        }
        for name, key in keys
    ]
    return json.dumps({"public_keys": listed})


def signed(body: bytes, key: Any = KEY, name: str = KEY_ID) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "Github-Public-Key-Identifier": name,
        "Github-Public-Key-Signature": b64encode(key.sign(body, ec.ECDSA(SHA256()))).decode(),
    }


def finds(*texts: str, url: str | None = "https://github.com/ada/notes/blob/main/.env") -> bytes:
    found = [{"token": text, "type": "authsvc_token", "url": url, "source": "commit"} for text in texts]
    return json.dumps(found).encode()
