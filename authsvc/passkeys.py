"""Verifying what authenticators answer. Only this module imports `fido2`, which comes with the extra `passkeys`."""

import logging
from collections.abc import Callable
from hmac import compare_digest
from typing import Any, Final, NamedTuple, TypeVar

from cryptography.exceptions import InvalidSignature
from fido2 import cbor
from fido2.cose import CoseKey
from fido2.utils import sha256
from fido2.webauthn import AttestationObject, AuthenticatorData, CollectedClientData

from authsvc.core.passkey import ALGORITHMS, Assertion, Passkey, Registration, RelyingParty, decoded

# Its lines name credentials, and would come beside those of docs/logs.md.
logging.getLogger("fido2").setLevel(logging.CRITICAL)

T = TypeVar("T")

_RS256: Final = -257
_RSA_BITS: Final = range(2048, 4097)
_MAX_EXPONENT: Final = 2**32
_MAX_CREDENTIAL_ID: Final = 1023  # WebAuthn section 4
_MAX_KEY: Final = 1024


class Refused(Exception):
    """The answer is not that of an authenticator to this challenge. The text tells developers why."""


class WrongSignature(Refused):
    """The answer is well-formed, and the passkey did not sign it."""


class Registered(NamedTuple):
    """A new passkey. key: its public key (COSE). synced: whether it may be copied between devices."""

    credential: bytes
    key: bytes
    counter: int
    synced: bool
    verified: bool


class Asserted(NamedTuple):
    """What an answer of a passkey says. verified: whether the authenticator verified its user."""

    counter: int
    synced: bool
    verified: bool


def registered(party: RelyingParty, challenge: str, answer: Registration) -> Registered:
    """Check the answer to creation options (WebAuthn section 7.1). The maker of the authenticator is not asked for.

    Raises Refused.
    """
    _check_client_data(party, challenge, answer.client_data, CollectedClientData.TYPE.CREATE)
    data = _parsed(lambda: AttestationObject(answer.attestation), "attestationObject").auth_data
    said = _check_authenticator(party, data)
    made = data.credential_data
    if made is None:
        raise Refused("attestationObject: without a credential")
    if not 0 < len(made.credential_id) <= _MAX_CREDENTIAL_ID:
        raise Refused("attestationObject: the id of the credential is too long")
    _check_key(made.public_key)
    key = cbor.encode(made.public_key)
    if len(key) > _MAX_KEY:
        raise Refused("attestationObject: the key is too long")
    return Registered(bytes(made.credential_id), key, *said)


def asserted(party: RelyingParty, challenge: str, passkey: Passkey, answer: Assertion) -> Asserted:
    """Check the answer to request options (WebAuthn section 7.2). Raises Refused."""
    client_data = _check_client_data(party, challenge, answer.client_data, CollectedClientData.TYPE.GET)
    data = _parsed(lambda: AuthenticatorData(answer.authenticator_data), "authenticatorData")
    said = _check_authenticator(party, data)
    key = _parsed(lambda: _key(decoded(passkey.key)), "the stored key")
    _check_signature(key, data + client_data.hash, answer.signature)
    return said


def _key(stored: bytes) -> CoseKey:
    members: Any = cbor.decode(stored)
    return CoseKey.parse(members)


def _check_client_data(party: RelyingParty, challenge: str, raw: bytes, kind: str) -> CollectedClientData:
    data = _parsed(lambda: CollectedClientData(raw), "clientDataJSON")
    if data.type != kind:
        raise Refused("clientDataJSON: the type is that of another ceremony")
    if not compare_digest(data.challenge, decoded(challenge)):
        raise Refused("clientDataJSON: the challenge is not the one that was asked")
    if not isinstance(data.origin, str) or data.origin not in party.origins:
        raise Refused("clientDataJSON: the origin is not one of AUTHSVC_PASSKEY_ORIGINS")
    if data.cross_origin:  # a page of another site has ours in a frame
        raise Refused("clientDataJSON: the page was in a frame of another site")
    return data


def _check_authenticator(party: RelyingParty, data: AuthenticatorData) -> Asserted:
    if not compare_digest(data.rp_id_hash, sha256(party.id.encode())):
        raise Refused("the passkey is for another domain than AUTHSVC_PASSKEY_RP_ID")
    if not data.is_user_present():
        raise Refused("the user was not present")
    if data.is_backed_up() and not data.is_backup_eligible():
        raise Refused("the flags contradict each other")
    return Asserted(data.counter, data.is_backup_eligible(), data.is_user_verified())


def _check_key(key: CoseKey) -> None:
    """Refuse a key that could never verify a signature, or would take long to. Raises Refused."""
    if key.get(3) not in ALGORITHMS:
        raise Refused("attestationObject: the algorithm of the key was not offered")
    if key[3] == _RS256 and not _parsed(lambda: _is_usual(key[-1], key[-2]), "attestationObject"):
        raise Refused("attestationObject: an RSA key of an unusual size")
    try:
        _check_signature(key, b"", b"")
    except WrongSignature:
        return  # so the key is one


def _is_usual(modulus: bytes, exponent: bytes) -> bool:
    bits = int.from_bytes(modulus, "big").bit_length()
    return bits in _RSA_BITS and int.from_bytes(exponent, "big") < _MAX_EXPONENT


def _check_signature(key: CoseKey, message: bytes, signature: bytes) -> None:
    def verify() -> None:
        try:
            key.verify(message, signature)
        except InvalidSignature:
            raise WrongSignature("the signature is not that of the passkey") from None

    _parsed(verify, "the key of the passkey")


def _parsed(parse: Callable[[], T], what: str) -> T:
    try:
        return parse()
    except Refused:
        raise
    except Exception as error:  # the parsers index, slice and convert what was sent: any exception means "malformed"
        raise Refused(f"{what}: malformed") from error
