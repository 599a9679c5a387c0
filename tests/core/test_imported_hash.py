"""Hashes of other systems: the right password opens, no other does, and none costs more than is bearable."""

import time
from contextlib import suppress

import bcrypt
import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core import imported_hash as foreign
from authsvc.errors import InvalidRequest
from tests.hashes import PASSWORD, SAMPLES

FOREIGN = {name: text for name, text in SAMPLES.items() if "argon2" not in name}
B64 = "A" * 43


@pytest.mark.parametrize("name", FOREIGN)
def test_the_right_password_and_no_other(name: str) -> None:
    """What the maker's library hashed opens with exactly the password, in the form that is stored."""
    stored = foreign.accept(FOREIGN[name])
    assert foreign.is_foreign(stored)
    assert foreign.verify(stored, PASSWORD)
    for wrong in (PASSWORD[:-1], PASSWORD + " ", PASSWORD.upper(), ""):
        assert not foreign.verify(stored, wrong)


@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in FOREIGN])
def test_argon2_of_others_becomes_ours(name: str) -> None:
    """Django's word before it goes; the rest is what we verify anyway."""
    stored = foreign.accept(SAMPLES[name])
    assert not foreign.is_foreign(stored)
    assert PasswordHasher().verify(stored, PASSWORD)


def test_bcrypt_looks_at_72_bytes_and_the_others_at_all() -> None:
    """A longer password is cut as its maker cut it, where the library would refuse it."""
    long = "x" * 80
    stored = bcrypt.hashpw(long[:72].encode(), bcrypt.gensalt(4)).decode()
    assert foreign.verify(stored, long)
    assert not foreign.verify(stored, long[:71])


@pytest.mark.parametrize(
    "text",
    [
        "$2b$15$" + "a" * 21 + "O" + "a" * 31,
        "$2b$31$" + "a" * 21 + "O" + "a" * 31,
        "$2b$03$" + "a" * 21 + "O" + "a" * 31,
        "bcrypt_sha256$$2b$31$" + "a" * 21 + "O" + "a" * 31,
        "$bcrypt-sha256$v=2,t=2b,r=31$" + "a" * 21 + "O$" + "a" * 31,
        f"pbkdf2_sha256$5000001$salt${B64}=",
        f"$pbkdf2-sha512$9999999999$c2FsdA${B64}",
        f"$pbkdf2-sha256$2600000$c2FsdA${'A' * 86}",  # two blocks
        f"scrypt$262144$salt$8$1${B64}=",
        f"scrypt$16384$salt$8$999$ {B64}=".replace(" ", ""),
        f"$scrypt$ln=25,r=8,p=1$c2FsdA${B64}",
        f"$scrypt$ln=99,r=1,p=1$c2FsdA${B64}",
        f"scrypt$16383$salt$8$1${B64}=",
        f"$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ${B64}",
        f"$argon2id$v=19$m=65536,t=999,p=1$c2FsdHNhbHQ${B64}",
        f"$argon2id$v=19$m=65536,t=1,p=64$c2FsdHNhbHQ${B64}",
    ],
)
def test_what_costs_too_much_is_refused_at_once(text: str) -> None:
    """It would be a way to keep the hasher busy; the reason names the cost, and never the hash."""
    began = time.thread_time()
    with pytest.raises(InvalidRequest, match=r"bcrypt|PBKDF2|scrypt|argon2") as refusal:
        foreign.accept(text)
    assert time.thread_time() - began < 0.1
    assert text[-20:] not in str(refusal.value)
    if foreign.is_foreign(text):
        with pytest.raises(InvalidRequest):
            foreign.verify(text, PASSWORD)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "md5$salt$5f4dcc3b5aa765d61d8327deb882cf99",
        "$1$salt$hash",
        "$6$rounds=5000$salt$hash",
        "$2x$04$" + "a" * 21 + "O" + "a" * 31,
        "$2b$04$" + "a" * 21 + "O" + "a" * 30,
        "$2b$04$" + "a" * 22 + "a" * 31,
        f"$pbkdf2-sha256$10$c2FsdA${B64[:-1]}%",
        f"$pbkdf2-sha256$i=10,l=16$c2FsdA${B64}",
        "$pbkdf2-sha256$10$c2FsdA$AAAA",  # a digest of three bytes lets every sixteen-millionth password in
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAA",
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$!",
        "$argon2id",
        "!unusable",
        "$2b$04$" + "a" * 5000,
    ],
)
def test_what_is_no_hash_is_refused(text: str) -> None:
    """Damaged, of another kind, or so short that guessing would be easy."""
    with pytest.raises(InvalidRequest):
        foreign.accept(text)


@given(st.text() | st.sampled_from(sorted(SAMPLES.values())).flatmap(lambda text: st.permutations(text).map("".join)))
def test_no_text_is_more_than_refused(text: str) -> None:
    """Whatever is in the column of hashes, there is no other error."""
    with suppress(InvalidRequest):
        foreign.accept(text)


@pytest.mark.parametrize("name", FOREIGN)
def test_any_damage_is_a_no_or_a_refusal(name: str) -> None:
    """A character less or another at any place of the hash: never a yes to a wrong password, and no other error."""
    stored = foreign.accept(FOREIGN[name])
    for at in range(len(stored)):
        for damaged in (stored[:at] + stored[at + 1 :], stored[:at] + "$" + stored[at + 1 :]):
            with suppress(InvalidRequest):
                assert not foreign.verify(foreign.accept(damaged), "wrong")
