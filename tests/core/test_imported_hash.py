"""The service takes imported hashes of the kinds that it knows, and only if verifying one is affordable."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.imported_hash_text import accept, parse
from authsvc.errors import InvalidRequest
from tests.hashes import IMPORTED, SAMPLES

B64 = "A" * 43


@pytest.mark.parametrize("name", IMPORTED)
def test_a_hash_is_stored_as_it_came(name: str) -> None:
    """Only argon2 hashes change their text."""
    assert accept(IMPORTED[name]).text == IMPORTED[name]


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() - IMPORTED.keys()))
def test_an_argon2_hash_loses_the_word_of_django(name: str) -> None:
    """The service drops the word that Django writes before the hash."""
    assert accept(SAMPLES[name]).text.startswith("$argon2id$")


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
def test_a_costly_hash_is_refused_at_once(text: str) -> None:
    """A costly hash would keep a hashing thread busy. The reason names the cost and never the hash."""
    with pytest.raises(InvalidRequest, match=r"bcrypt|PBKDF2|scrypt|argon2") as refusal:
        accept(text)
    assert text[-20:] not in str(refusal.value)
    with pytest.raises(InvalidRequest):
        parse(text).check_parameters()


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
def test_a_text_that_is_no_hash_is_refused(text: str) -> None:
    """A damaged hash, a hash of an unknown kind, and a hash that is so short that guessing would be easy."""
    with pytest.raises(InvalidRequest):
        accept(text)


@given(st.text() | st.sampled_from(sorted(SAMPLES.values())).flatmap(lambda text: st.permutations(text).map("".join)))
def test_any_text_is_accepted_or_refused(text: str) -> None:
    """No text in the column of hashes leads to another error."""
    with suppress(InvalidRequest):
        accept(text)
