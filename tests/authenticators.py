"""An authenticator in software, for tests: it makes passkeys and answers as a browser does, well or badly."""

import json
import secrets
import struct
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from fido2 import cbor
from fido2.cose import ES256, RS256, CoseKey, EdDSA

from authsvc.core.passkey import decoded, encoded

PRESENT, VERIFIED, ELIGIBLE, BACKED_UP, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def new_key(alg: int = -7) -> Key:
    if alg == -8:
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048) if alg == -257 else ec.generate_private_key(ec.SECP256R1())


def public(key: Key) -> CoseKey:
    kind: Any = ES256
    if isinstance(key, ed25519.Ed25519PrivateKey):
        kind = EdDSA
    elif isinstance(key, rsa.RSAPrivateKey):
        kind = RS256
    made: CoseKey = kind.from_cryptography_key(key.public_key())
    return made


def sign(key: Key, message: bytes) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(SHA256()))
    return key.sign(message) if isinstance(key, ed25519.Ed25519PrivateKey) else key.sign(message, PKCS1v15(), SHA256())


@dataclass
class Authenticator:
    """One device with at most one passkey. synced: whether it is backed up; then its counter stays 0."""

    origin: str = "http://localhost:8000"
    rp_id: str = "localhost"
    key: Key = field(default_factory=new_key)
    credential: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    verifies: bool = True
    synced: bool = False
    counter: int = 0
    user_handle: str | None = None
    # Members of clientDataJSON that differ from the right ones.
    client_data: dict[str, Any] = field(default_factory=dict)

    @property
    def flags(self) -> int:
        return PRESENT | (VERIFIED if self.verifies else 0) | (ELIGIBLE | BACKED_UP if self.synced else 0)

    def create(self, options: dict[str, Any], *, attestation: bytes | None = None) -> dict[str, Any]:
        """The answer to creation options, as `PublicKeyCredential.toJSON()` gives it."""
        self.user_handle = options["user"]["id"]
        made = attestation or cbor.encode({"fmt": "none", "authData": self.attested(), "attStmt": {}})
        response = {"attestationObject": encoded(made), "transports": ["internal"]}
        return self._as_json("webauthn.create", options["challenge"], response)

    def attested(self, public_key: Any = None) -> bytes:
        """The authenticator data of a new passkey."""
        cose: bytes = cbor.encode(public(self.key) if public_key is None else public_key)
        head = self.data(self.flags | ATTESTED)
        return head + bytes(16) + struct.pack(">H", len(self.credential)) + self.credential + cose

    def data(self, flags: int | None = None) -> bytes:
        shown = self.flags if flags is None else flags
        return sha256(self.rp_id.encode()).digest() + struct.pack(">BI", shown, self.counter)

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        """The answer to request options."""
        if not self.synced:
            self.counter += 1
        data = self.data()
        client_data = self._client_data("webauthn.get", options["challenge"])
        response = {
            "authenticatorData": encoded(data),
            "signature": encoded(sign(self.key, data + sha256(client_data).digest())),
            "userHandle": self.user_handle,
        }
        return self._as_json("webauthn.get", options["challenge"], response)

    def _client_data(self, kind: str, challenge: str) -> bytes:
        said = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps(said | self.client_data).encode()

    def _as_json(self, kind: str, challenge: str, response: dict[str, Any]) -> dict[str, Any]:
        client_data = encoded(self._client_data(kind, challenge))
        return {
            "id": encoded(self.credential),
            "rawId": encoded(self.credential),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {"clientDataJSON": client_data, **response},
        }


def parts(answer: dict[str, Any]) -> dict[str, bytes]:
    """The decoded members of an answer's response."""
    found = answer["response"]
    return {name: decoded(text) for name, text in found.items() if isinstance(text, str)}
