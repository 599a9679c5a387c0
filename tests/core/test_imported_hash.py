"""The service takes imported hashes of the kinds that it knows, and only if verifying one is affordable."""

from base64 import b64encode
from contextlib import suppress
from hashlib import pbkdf2_hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.imported_hash_text import accept, parse
from authsvc.errors import InvalidRequest
from authsvc.hashing.imported import verify
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
        "$6$rounds=999$salt$" + "a" * 86,
        "$6$rounds=500001$salt$" + "a" * 86,
        "$P$I" + "a" * 30,
        "{noop}hunter2",
        "{MD5}5f4dcc3b5aa765d61d8327deb882cf99",
        "{SHA}" + b64encode(bytes(20)).decode(),
        "{SSHA}" + b64encode(bytes(20)).decode(),  # one guess would try all users without a salt
        "{SSHA}" + b64encode(bytes(23)).decode(),
        "{SSHA384}" + b64encode(bytes(64)).decode(),
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


def aspnet(digest: int, iterations: int, salt: bytes, hash_: bytes) -> str:
    numbers = b"".join(number.to_bytes(4) for number in (digest, iterations, len(salt)))
    return b64encode(b"\1" + numbers + salt + hash_).decode()


@pytest.mark.parametrize(("digest", "name"), list(enumerate(["sha1", "sha256", "sha512"])))
def test_aspnet_names_digest_and_iterations(digest: int, name: str) -> None:
    """The service stores the hash as PBKDF2 in PHC form, which earlier versions read too."""
    salt, iterations = b"sixteen bytes ok", 100_000
    hash_ = pbkdf2_hmac(name, b"a secret", salt, 10, 32)
    assert accept(aspnet(digest, iterations, salt, hash_)).text.startswith(f"$pbkdf2-{name}$i=100000$")
    assert verify(parse(accept(aspnet(digest, 10, salt, hash_)).text), "a secret")
    version_2 = b64encode(b"\0" + salt + pbkdf2_hmac("sha1", b"a secret", salt, 1000, 32)).decode()
    assert verify(parse(accept(version_2).text), "a secret")
    assert not verify(parse(accept(version_2).text), "a secre")


@pytest.mark.parametrize("damaged", [aspnet(3, 10, b"s" * 16, b"h" * 32), aspnet(1, 10, b"s" * 90, b"")])
def test_a_damaged_hash_of_aspnet_is_refused(damaged: str) -> None:
    """An unknown digest, and numbers that do not fit the length."""
    with pytest.raises(InvalidRequest):
        accept(damaged)


def test_spring_s_prefixes() -> None:
    """The prefix only names the kind. A password in the clear is refused with what to do."""
    assert accept("{bcrypt}" + SAMPLES["devise"]).text == SAMPLES["devise"]
    argon2 = SAMPLES["passlib argon2"]
    assert accept("{argon2@SpringSecurity_v5_8}" + argon2).text == argon2
    with pytest.raises(InvalidRequest, match=r"in the clear.*reset code"):
        accept("{noop}hunter2")


@pytest.mark.parametrize(
    ("text", "password"),
    [
        # The test vectors of the specification of SHA-crypt by Ulrich Drepper.
        (
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "Hello world!",
        ),
        (
            "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y"
            "3RnOaw5v.",
            "Hello world!",
        ),
        # A hash of an LDAP server, as Passlib tests it. RFC 2307 reads the scheme in either case.
        ("{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr", "testing123"),
        ("{ssha}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr", "testing123"),
        # The test vector of phpass.
        ("$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0", "test12345"),
    ],
)
def test_the_official_vectors(text: str, password: str) -> None:
    """The makers' own examples are verified."""
    assert verify(parse(accept(text).text), password)
    assert not verify(parse(accept(text).text), password + "x")
