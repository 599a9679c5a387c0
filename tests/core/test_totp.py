"""One-time codes are those of RFC 6238, and each counts once."""

from base64 import b32decode
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core import totp
from authsvc.core.factor_key import FactorKey, missing_keys, named
from authsvc.core.record import Service

SEED = b"12345678901234567890"
# RFC 6238 appendix B, the rows of SHA-1: time, code of eight digits.
TABLE = [
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
]
# Test vectors of pyotp, from RFC 4226 appendix D: the codes of the counters from 0 on.
HOTP = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]


@pytest.mark.parametrize(("at", "code"), TABLE)
def test_the_table_of_the_rfc(at: int, code: str) -> None:
    """Each code of the RFC's table is made, and its last six digits are accepted at that time."""
    assert totp.code_at(SEED, at // totp.PERIOD_S, digits=8) == code
    assert totp.matching_step(SEED, code[2:], at, last=0) == at // totp.PERIOD_S


def test_the_counters_of_rfc_4226() -> None:
    """The codes of the first ten counters."""
    assert [totp.code_at(SEED, counter) for counter in range(10)] == HOTP


@given(st.integers(120, 2**40), st.integers(-3, 3))
def test_the_window(now: int, distance: int) -> None:
    """A code of the step before, of this one or of the next one counts."""
    step = now // totp.PERIOD_S + distance
    found = totp.matching_step(SEED, totp.code_at(SEED, step), now, last=-1)
    if abs(distance) <= 1:
        assert found is not None
        assert totp.code_at(SEED, found) == totp.code_at(SEED, step)
    else:
        assert found is None or totp.code_at(SEED, found) == totp.code_at(SEED, step)


@given(st.integers(60, 2**40))
def test_an_accepted_step_and_all_before_it_are_over(now: int) -> None:
    """After a code was accepted, only codes of later steps count."""
    current = now // totp.PERIOD_S
    for step in (current - 1, current):
        assert totp.matching_step(SEED, totp.code_at(SEED, step), now, last=current) in (None, current + 1)
    assert totp.matching_step(SEED, totp.code_at(SEED, current + 1), now, last=current) == current + 1


@pytest.mark.parametrize("wrong", ["", "28708", "2870822", "28708a", "٢٨٧٠٨٢", "287082 ", "\x00" * 6])
def test_what_is_no_code(wrong: str) -> None:
    """Six ASCII digits and nothing else."""
    assert totp.matching_step(SEED, wrong, 59, last=0) is None


def test_the_address_for_an_app() -> None:
    """An app reads issuer, account and seed from it, whatever characters the name has."""
    parts = urlsplit(totp.uri(SEED, "auth.example.org", "Ada & Bob/ü@x"))
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    assert unquote(parts.path) == "/auth.example.org:Ada & Bob/ü@x"
    query = parse_qs(parts.query)
    assert query["issuer"] == ["auth.example.org"]
    assert b32decode(query["secret"][0]) == SEED


def test_a_seed_is_bound_to_its_record() -> None:
    """Another key, user, factor or nonce gives another seed. The id of a key tells nothing of it."""
    key = FactorKey.of("k" * 44)
    seeds = {
        key.seed("u", "f", "n"),
        key.seed("v", "f", "n"),
        key.seed("u", "g", "n"),
        key.seed("u", "f", "m"),
        FactorKey.of("l" * 44).seed("u", "f", "n"),
        key.sealing_key(),
    }
    assert len(seeds) == 6
    assert key.seed("u", "f", "n") == FactorKey.of("k" * 44).seed("u", "f", "n")
    assert "k" * 8 not in f"{key!r}{key.id}"


def test_keys_are_found_by_their_ids() -> None:
    """A worker knows which keys it lacks."""
    old, new = FactorKey.of("o" * 44), FactorKey.of("n" * 44)
    assert named((new, old), old.id) == old
    assert named((new,), old.id) is None
    service = Service(epoch=1).with_factor_key(old.id).with_factor_key(new.id).with_factor_key(new.id)
    assert service.factor_keys == (old.id, new.id)
    assert missing_keys(service, (new, old)) == ()
    assert missing_keys(service, (new,)) == (old.id,)
    assert service.without_factor_keys((old.id,)).factor_keys == (new.id,)
