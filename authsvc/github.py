"""The signatures of GitHub's secret scanning, by which it reports tokens that it found.

Only this module knows the format of the public keys, which an operator saves in a file. The service asks GitHub for
nothing.
"""

import json
from base64 import b64decode
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

Keys = Mapping[str, EllipticCurvePublicKey]

# A signature in DER has 72 bytes at most.
_MAX_SIGNATURE: Final = 100


def read_keys(document: str) -> Keys:
    """The keys in the answer of `https://api.github.com/meta/public_keys/secret_scanning`, by their ids.

    Raises ValueError, with a text for the operator.
    """
    try:
        listed = json.loads(document)["public_keys"]
        found = {str(one["key_identifier"]): load_pem_public_key(one["key"].encode()) for one in listed}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, UnsupportedAlgorithm):
        raise ValueError("must be what https://api.github.com/meta/public_keys/secret_scanning answers") from None
    keys = {name: key for name, key in found.items() if isinstance(key, EllipticCurvePublicKey)}
    if not keys or len(keys) != len(found) or not all(isinstance(key.curve, SECP256R1) for key in keys.values()):
        raise ValueError("must have public keys of ECDSA on the curve P-256, and nothing else")
    return keys


def is_signed(keys: Keys, key_id: str, signature: str, body: bytes) -> bool:
    """Whether this key of GitHub signed exactly these bytes. signature: in base64."""
    key = keys.get(key_id)
    if key is None or len(signature) > _MAX_SIGNATURE:
        return False
    try:
        key.verify(b64decode(signature, validate=True), body, ECDSA(SHA256()))
    except (ValueError, InvalidSignature):
        return False
    return True
