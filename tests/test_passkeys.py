"""The verification of what authenticators answer."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor

from authsvc.core.passkey import (
    ALGORITHMS,
    Assertion,
    Passkey,
    Registration,
    RelyingParty,
    encoded,
    new_challenge,
    new_user_handle,
)
from authsvc.passkeys import Asserted, Refused, Registered, WrongSignature, asserted, registered
from tests.authenticators import BACKED_UP, ELIGIBLE, PRESENT, Authenticator, new_key, parts, public

PARTY = RelyingParty("localhost", frozenset({"http://localhost:8000", "android:apk-key-hash:abc"}))
CHALLENGE = new_challenge(0).challenge


def registration(device: Authenticator, **more: Any) -> Registration:
    options = {"challenge": CHALLENGE, "user": {"id": new_user_handle()}}
    found = parts(device.create(options, **more))
    return Registration(found["clientDataJSON"], found["attestationObject"])


def assertion(device: Authenticator, challenge: str = CHALLENGE) -> Assertion:
    found = parts(device.get({"challenge": challenge}))
    return Assertion(device.credential, found["clientDataJSON"], found["authenticatorData"], found["signature"], None)


def stored(made: Registered) -> Passkey:
    return Passkey(
        id="p",
        created_at=0,
        credential=encoded(made.credential),
        key=encoded(made.key),
        counter=made.counter,
        synced=made.synced,
    )


def passkey_of(device: Authenticator) -> Passkey:
    return stored(registered(PARTY, CHALLENGE, registration(device)))


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_each_algorithm_that_is_offered_works(alg: int) -> None:
    """A passkey of each algorithm is registered and answers a challenge."""
    device = Authenticator(key=new_key(alg))
    made = registered(PARTY, CHALLENGE, registration(device))
    assert (made.credential, made.counter, made.synced, made.verified) == (device.credential, 0, False, True)
    assert asserted(PARTY, CHALLENGE, stored(made), assertion(device)) == Asserted(1, False, True)


def test_a_synced_passkey_and_one_without_verification() -> None:
    """The flags say whether the passkey is synced, and whether its user was verified."""
    device = Authenticator(synced=True, verifies=False)
    passkey = passkey_of(device)
    assert passkey.synced
    assert asserted(PARTY, CHALLENGE, passkey, assertion(device)) == Asserted(0, True, False)


def test_an_app_with_an_origin_of_its_own() -> None:
    """The origin of a native app is compared as it is."""
    device = Authenticator(origin="android:apk-key-hash:abc")
    assert asserted(PARTY, CHALLENGE, passkey_of(device), assertion(device))


WRONG: dict[str, Callable[[Authenticator], object]] = {
    "origin": lambda device: setattr(device, "origin", "https://evil.example"),
    "origin of another port": lambda device: setattr(device, "origin", "http://localhost:8001"),
    "origin with a path": lambda device: setattr(device, "origin", "http://localhost:8000/"),
    "origin in capitals": lambda device: setattr(device, "origin", "http://LOCALHOST:8000"),
    "origin that is a list": lambda device: setattr(device, "origin", ["http://localhost:8000"]),
    "origin that is null": lambda device: setattr(device, "origin", None),
    "domain": lambda device: setattr(device, "rp_id", "evil.example"),
    "challenge": lambda device: device.client_data.update(challenge=new_challenge(0).challenge),
    "empty challenge": lambda device: device.client_data.update(challenge=""),
    "challenge that is a number": lambda device: device.client_data.update(challenge=1),
    "type": lambda device: device.client_data.update(type="payment.get"),
    "frame": lambda device: device.client_data.update(crossOrigin=True),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_not_the_answer_to_this_challenge(wrong: str) -> None:
    """An answer for another origin, domain, challenge, ceremony or from a frame is refused, at both ceremonies."""
    device = Authenticator()
    passkey = passkey_of(device)
    WRONG[wrong](device)
    with pytest.raises(Refused):
        registered(PARTY, CHALLENGE, registration(device))
    with pytest.raises(Refused):
        asserted(PARTY, CHALLENGE, passkey, assertion(device))


@pytest.mark.parametrize("flags", [0, BACKED_UP | PRESENT])
def test_flags_that_cannot_be(flags: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody was present, or the passkey is backed up and can't be: refused."""
    device = Authenticator()
    passkey = passkey_of(device)
    monkeypatch.setattr(Authenticator, "flags", flags)
    with pytest.raises(Refused):
        asserted(PARTY, CHALLENGE, passkey, assertion(device))
    with pytest.raises(Refused):
        registered(PARTY, CHALLENGE, registration(device))


def test_another_key_and_a_changed_byte() -> None:
    """A signature counts for these very bytes and this very key."""
    device = Authenticator()
    passkey, good = passkey_of(device), assertion(device)
    other = Authenticator(credential=device.credential)
    with pytest.raises(WrongSignature):
        asserted(PARTY, CHALLENGE, passkey, assertion(other))
    raised = bytearray(good.authenticator_data)
    raised[-1] += 1
    with pytest.raises(WrongSignature):
        asserted(PARTY, CHALLENGE, passkey, Assertion(b"", good.client_data, bytes(raised), good.signature, None))


def test_the_counter() -> None:
    """A counter that does not rise is a copy. Synced passkeys and those without a counter have none."""
    own = Passkey(id="p", created_at=0, credential="", key="", counter=5)
    assert [own.accepts(counter, synced=False) for counter in (4, 5, 6, 0)] == [False, False, True, False]
    assert own.but(counter=0).accepts(0, synced=False)
    copied = own.but(synced=True)
    assert [copied.accepts(counter, synced=True) for counter in (0, 4, 6)] == [True, True, True]
    assert not own.accepts(6, synced=True), "a passkey can't become synced"
    assert not copied.accepts(6, synced=False)


def _rsa(bits: int, exponent: int = 65537) -> dict[int, Any]:
    modulus = 1 << bits - 1 | 1
    return {1: 3, 3: -257, -1: modulus.to_bytes(bits // 8, "big"), -2: exponent.to_bytes(8, "big")}


KEYS: dict[str, Callable[[], Any]] = {
    "ES384, which was not offered": lambda: {1: 2, 3: -35, -1: 2, -2: bytes(48), -3: bytes(48)},
    "an unknown algorithm": lambda: {1: 2, 3: -65535, -1: 1},
    "no algorithm": lambda: {1: 2},
    "an algorithm that is text": lambda: {1: 2, 3: "ES256"},
    "a point off the curve": lambda: {1: 2, 3: -7, -1: 1, -2: bytes(32), -3: b"\1" * 32},
    "another curve": lambda: {1: 2, 3: -7, -1: 2, -2: bytes(32), -3: bytes(32)},
    "no point": lambda: {1: 2, 3: -7, -1: 1},
    "a short Ed25519 key": lambda: {1: 1, 3: -8, -1: 6, -2: bytes(31)},
    "RSA of 1024 bits": lambda: _rsa(1024),
    "RSA of 16384 bits": lambda: _rsa(16384),
    "RSA with a large exponent": lambda: _rsa(2048, 2**40 + 1),
    "a list": lambda: [1, 2],
    "a key with a load": lambda: public(new_key()) | {99: bytes(2000)},
}


@pytest.mark.parametrize("key", KEYS)
def test_keys_that_are_refused(key: str) -> None:
    """A key that was not offered, verifies nothing or takes long is refused when it is registered."""
    device = Authenticator()
    data = device.attested(KEYS[key]())
    made = cbor.encode({"fmt": "none", "authData": data, "attStmt": {}})
    with pytest.raises(Refused):
        registered(PARTY, CHALLENGE, registration(device, attestation=made))


def _object(data: bytes) -> bytes:
    made: bytes = cbor.encode({"fmt": "none", "authData": data, "attStmt": {}})
    return made


MALFORMED: dict[str, Callable[[Authenticator], bytes]] = {
    "one byte": lambda device: b"\xa3",
    "text": lambda device: b"attestation",
    "no data": lambda device: cbor.encode({"fmt": "none"}),
    "data that is text": lambda device: cbor.encode({"fmt": "none", "authData": "x", "attStmt": {}}),
    "cut off": lambda device: _object(device.attested())[:-5],
    "more behind it": lambda device: _object(device.attested()) + b"\0",
    "data cut off": lambda device: _object(device.attested()[:60]),
    "more behind the key": lambda device: _object(device.attested() + b"\0"),
    "without a credential": lambda device: _object(device.data()),
    "an array of 2^64": lambda device: b"\x9b" + b"\xff" * 8,
    "bytes of 2^64": lambda device: b"\x5b" + b"\xff" * 8,
    "nested deeply": lambda device: b"\x81" * 8000,
    "maps in keys": lambda device: b"\xa1" * 8000,
    "a list as a key": lambda device: b"\xa1\x80\x00",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_objects(name: str) -> None:
    """Whatever is no attestation object is refused, and nothing else is raised."""
    device = Authenticator()
    with pytest.raises(Refused):
        registered(PARTY, CHALLENGE, registration(device, attestation=MALFORMED[name](device)))


@pytest.mark.parametrize("raw", [b"", b"[]", b"1", b"null", b"{}", b"\xff", b"[" * 4000, b'{"type":"webauthn.get"}'])
def test_malformed_client_data(raw: bytes) -> None:
    """Whatever is no client data is refused."""
    device = Authenticator()
    passkey, good = passkey_of(device), assertion(device)
    with pytest.raises(Refused):
        asserted(PARTY, CHALLENGE, passkey, Assertion(b"", raw, good.authenticator_data, good.signature, None))


def test_the_id_of_a_passkey_has_a_bound() -> None:
    """An empty id and one above 1023 bytes are refused."""
    for length in (0, 1024):
        with pytest.raises(Refused):
            registered(PARTY, CHALLENGE, registration(Authenticator(credential=bytes(length))))


def mutated(source: random.Random, raw: bytes) -> bytes:
    """The same bytes with a few changes: flipped, cut out, doubled, or replaced by a head of CBOR."""
    found = bytearray(raw)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(found) + 1)
        match source.randrange(5):
            case 0 if at < len(found):
                found[at] ^= 1 << source.randrange(8)
            case 1:
                del found[at : at + source.randint(1, 40)]
            case 2:
                found[at:at] = found[at : at + source.randint(1, 40)]
            case 3:
                found[at : at + 1] = bytes([source.choice((0x1B, 0x3B, 0x5B, 0x7B, 0x9B, 0xBB, 0xF6, 0xFB, 0xFF))])
            case _:
                found = found[:at]
    return bytes(found)


def fuzzed(rounds: int, seed: int) -> int:
    """Ask about changed answers. Returns how many were taken; every other one has to be Refused."""
    source, taken = random.Random(seed), 0
    device = Authenticator(synced=True)
    passkey = passkey_of(device)
    made, good = registration(device), assertion(device)
    for _ in range(rounds):
        client_data, attestation, data, signature = (
            mutated(source, raw) if source.random() < 0.5 else raw
            for raw in (made.client_data, made.attestation, good.authenticator_data, good.signature)
        )
        try:
            registered(PARTY, CHALLENGE, Registration(client_data, attestation))
            taken += 1
        except Refused:
            pass
        try:
            asserted(PARTY, CHALLENGE, passkey, Assertion(b"", good.client_data, data, signature, None))
            assert (data, signature) == (good.authenticator_data, good.signature), "a changed answer was taken"
            taken += 1
        except Refused:
            pass
    return taken


def test_changed_answers() -> None:
    """A changed answer is refused and raises nothing else; no changed assertion is ever taken."""
    assert 0 < fuzzed(2_000, seed=1) < 4_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_changed_answers() -> None:
    """The same, a hundred thousand times."""
    fuzzed(100_000, seed=2)


def test_client_data_is_read_as_json() -> None:
    """A member that comes later, as future browsers may send, changes nothing."""
    device = Authenticator(client_data={"other_keys_can_be_added_here": "do not compare clientDataJSON"})
    assert json.loads(registration(device).client_data)["other_keys_can_be_added_here"]
    assert registered(PARTY, CHALLENGE, registration(device))


def test_eligible_and_not_yet_backed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passkey that may be synced counts as synced before the first copy is made."""
    monkeypatch.setattr(Authenticator, "flags", PRESENT | ELIGIBLE)
    assert passkey_of(Authenticator(key=ec.generate_private_key(ec.SECP256R1()))).synced
