"""Passkeys: what is stored of one, what a browser is asked for, and what its answer is worth (WebAuthn level 3)."""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from authsvc.core.address import is_loopback, origin_of
from authsvc.core.record import Part, Record

MAX_PASSKEYS: Final = 20
# How long a challenge may wait for its answer. People look for their security key meanwhile.
CHALLENGE_S: Final = 300
_CHALLENGE_BYTES: Final = 32
# WebAuthn section 14.6.1: it must tell nothing about the user.
_USER_HANDLE_BYTES: Final = 32

# The algorithms that authenticators have (COSE): ES256, EdDSA, RS256. In the order in which they are preferred.
ALGORITHMS: Final = (-7, -8, -257)

_LOCAL: Final = "localhost"
_VERIFIED: Final = "user"
_IN_HARDWARE, _SYNCED = "hwk", "swk"

_STORED = {"created_at": "at", "used_at": "used", "credential": "cred"}


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """The site for which passkeys are made. id: a domain. origins: of the pages and apps that may use them, exactly."""

    id: str
    origins: frozenset[str]

    def also_on(self, port: int) -> "RelyingParty":
        """The same with pages of this machine at one more port, if it is the party of this machine."""
        if self.id != _LOCAL:
            return self
        return RelyingParty(self.id, self.origins | {f"http://{_LOCAL}:{port}"})


@dataclass(frozen=True, slots=True)
class Registration:
    """The answer to creation options: `clientDataJSON` and `attestationObject`."""

    client_data: bytes
    attestation: bytes


@dataclass(frozen=True, slots=True)
class Assertion:
    """The answer to request options. credential: the id of the passkey. user_handle: None if it was not sent."""

    credential: bytes
    client_data: bytes
    authenticator_data: bytes
    signature: bytes
    user_handle: bytes | None


class Passkey(Part, frozen=True, kw_only=True, omit_defaults=True, rename=_STORED):
    """One passkey. credential, key: its id and its public key (COSE), in base64url; neither is a secret.

    counter: the last one that was signed. synced: whether it may be copied between devices; that never changes.
    """

    id: str
    name: str | None = None
    created_at: int
    used_at: int | None = None
    credential: str
    key: str
    counter: int = 0
    synced: bool = False
    transports: tuple[str, ...] = ()

    def accepts(self, counter: int, *, synced: bool) -> bool:
        """Whether an answer can be from this passkey, and from no copy of it (WebAuthn section 6.1.1).

        Copies of a synced passkey share no counter, and many authenticators have none, which they show as 0.
        """
        if synced is not self.synced:
            return False
        return synced or counter > self.counter or counter == self.counter == 0

    def used(self, counter: int, now: float) -> "Passkey":
        return self.but(counter=counter, used_at=int(now))


class Challenge(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The record `challenge:<handle>`: what the next answer has to sign. The answer removes it.

    The handle is that of the session or of the login in progress. challenge: base64url. user_handle: for a new passkey.
    digest: of the `auth_session` of a login by passkey alone, which has no other record. until: epoch seconds.
    taken: whether an answer came; the record is about to be deleted.
    """

    hidden = Record.hidden | {"digest"}

    challenge: str
    user_handle: str | None = None
    digest: str | None = None
    until: int
    taken: bool = False

    def expires_at(self) -> int:
        return self.until


def new_challenge(now: float, *, user_handle: str | None = None, digest: str | None = None) -> Challenge:
    challenge = encoded(secrets.token_bytes(_CHALLENGE_BYTES))
    return Challenge(challenge=challenge, user_handle=user_handle, digest=digest, until=int(now) + CHALLENGE_S)


def new_user_handle() -> str:
    return encoded(secrets.token_bytes(_USER_HANDLE_BYTES))


def creation_options(
    party: RelyingParty, challenge: Challenge, *, name: str, site: str, held: Iterable[Passkey]
) -> dict[str, Any]:
    """The argument `publicKey` of `navigator.credentials.create`, as JSON (WebAuthn section 5.1.9).

    name: by which the user recognises the account. site: by which the user recognises the service.
    """
    return {
        "rp": {"id": party.id, "name": site},
        "user": {"id": challenge.user_handle, "name": name, "displayName": name},
        "challenge": challenge.challenge,
        "pubKeyCredParams": [{"type": "public-key", "alg": alg} for alg in ALGORITHMS],
        "timeout": CHALLENGE_S * 1000,
        "excludeCredentials": _described(held),
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": True,
            "userVerification": "preferred",
        },
        "attestation": "none",
        "extensions": {"credProps": True},
    }


def request_options(party: RelyingParty, challenge: Challenge, *, held: Iterable[Passkey] | None) -> dict[str, Any]:
    """The argument `publicKey` of `navigator.credentials.get`, as JSON (WebAuthn section 5.1.10).

    held: the passkeys of a user who is known. None: the authenticator says who it is, and has to verify its user.
    """
    return {
        "challenge": challenge.challenge,
        "timeout": CHALLENGE_S * 1000,
        "rpId": party.id,
        "allowCredentials": [] if held is None else _described(held),
        "userVerification": "required" if held is None else "preferred",
    }


def _described(held: Iterable[Passkey]) -> list[dict[str, Any]]:
    return [
        {"type": "public-key", "id": one.credential, **({"transports": one.transports} if one.transports else {})}
        for one in held
    ]


def amr_of(*, synced: bool, verified: bool) -> tuple[str, ...]:
    """What an answer proves (RFC 8176): a key in one device or in several, and whether its user was verified."""
    key = _SYNCED if synced else _IN_HARDWARE
    return (key, _VERIFIED) if verified else (key,)


def relying_party(base_url: str, rp_id: str | None, origins: tuple[str, ...]) -> RelyingParty | None:
    """The relying party by the settings, None if no browser would accept it: an address is no domain.

    The default of both is the issuer's. Browsers accept `localhost` without TLS, and no loopback address.
    """
    own = urlsplit(origin_of(base_url))
    local = is_loopback(own.hostname or "")
    host = _LOCAL if local else own.hostname or ""
    domain = rp_id or host
    if not _is_domain(domain):
        return None
    default = f"{own.scheme}://{host}" + (f":{own.port}" if own.port else "")
    return RelyingParty(domain, frozenset(origins or (default,)))


def _is_domain(text: str) -> bool:
    labels = text.split(".")
    return all(labels) and not labels[-1].isdecimal() and ":" not in text


def may_use(origin: str, rp_id: str) -> bool:
    """Whether a browser lets a page of this origin use passkeys of this domain. Apps have origins without a domain."""
    url = urlsplit(origin)
    if url.scheme not in ("http", "https"):
        return True
    host = url.hostname or ""
    secure = url.scheme == "https" or host == "localhost" or host.endswith(".localhost")
    return secure and (host == rp_id or host.endswith(f".{rp_id}"))


def encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """Raises ValueError."""
    return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
