"""An imported hash lets its password in and no other."""

from contextlib import suppress

import bcrypt
import pytest

from authsvc.core.imported_hash_text import accept, parse
from authsvc.errors import InvalidRequest
from authsvc.hashing.imported import Uncheckable, verify
from tests.hashes import IMPORTED, PASSWORD, SAMPLES


@pytest.mark.parametrize("name", SAMPLES)
def test_the_right_password_and_no_other(name: str) -> None:
    """A hash of the maker's library matches exactly its password, in the form that the service stores."""
    hash_ = parse(accept(SAMPLES[name]).text)
    assert verify(hash_, PASSWORD)
    for wrong in (PASSWORD[:-1], PASSWORD + " ", PASSWORD.upper(), ""):
        assert not verify(hash_, wrong)


def test_bcrypt_reads_72_bytes() -> None:
    """A longer password is cut as its maker cut it. The bcrypt library itself would refuse the password."""
    long = "x" * 80
    stored = bcrypt.hashpw(long[:72].encode(), bcrypt.gensalt(4)).decode()
    assert verify(parse(stored), long)
    assert not verify(parse(stored), long[:71])


def test_a_costly_hash_is_refused_although_it_is_stored() -> None:
    """The cost is bounded at every check, not only at the import."""
    with pytest.raises(Uncheckable, match="cost 31"):
        verify(parse("$2b$31$" + "a" * 21 + "O" + "a" * 31), PASSWORD)


@pytest.mark.parametrize("name", IMPORTED)
def test_a_damaged_hash_lets_no_wrong_password_in(name: str) -> None:
    """One character is missing or replaced, at any place: the answer is no or a refusal, and never another error."""
    stored = accept(IMPORTED[name]).text
    for at in range(len(stored)):
        for damaged in (stored[:at] + stored[at + 1 :], stored[:at] + "$" + stored[at + 1 :]):
            with suppress(InvalidRequest, Uncheckable):
                assert not verify(parse(accept(damaged).text), "wrong")
