"""An imported hash lets its password in and no other."""

from contextlib import suppress

import bcrypt
import pytest
from argon2 import PasswordHasher

from authsvc.core.imported_hash_text import accept
from authsvc.errors import InvalidRequest
from authsvc.hashing.imported import verify
from tests.hashes import IMPORTED, PASSWORD, SAMPLES


@pytest.mark.parametrize("name", IMPORTED)
def test_the_right_password_and_no_other(name: str) -> None:
    """A hash of the maker's library matches exactly its password, in the form that the service stores."""
    stored = accept(IMPORTED[name])
    assert verify(stored, PASSWORD)
    for wrong in (PASSWORD[:-1], PASSWORD + " ", PASSWORD.upper(), ""):
        assert not verify(stored, wrong)


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() - IMPORTED.keys()))
def test_argon2_verifies_an_argon2_hash_from_elsewhere(name: str) -> None:
    """The service treats the accepted form as one of its own hashes."""
    assert PasswordHasher().verify(accept(SAMPLES[name]), PASSWORD)


def test_bcrypt_reads_72_bytes() -> None:
    """A longer password is cut as its maker cut it. The bcrypt library itself would refuse the password."""
    long = "x" * 80
    stored = bcrypt.hashpw(long[:72].encode(), bcrypt.gensalt(4)).decode()
    assert verify(stored, long)
    assert not verify(stored, long[:71])


def test_a_costly_hash_is_refused_although_it_is_stored() -> None:
    """The cost is bounded at every check, not only at the import."""
    with pytest.raises(InvalidRequest, match="cost 31"):
        verify("$2b$31$" + "a" * 21 + "O" + "a" * 31, PASSWORD)


@pytest.mark.parametrize("name", IMPORTED)
def test_a_damaged_hash_lets_no_wrong_password_in(name: str) -> None:
    """One character is missing or replaced, at any place: the answer is no or a refusal, and never another error."""
    stored = accept(IMPORTED[name])
    for at in range(len(stored)):
        for damaged in (stored[:at] + stored[at + 1 :], stored[:at] + "$" + stored[at + 1 :]):
            with suppress(InvalidRequest):
                assert not verify(accept(damaged), "wrong")
