"""The check of a new password."""

import contextlib
import gzip
import random
import string
import time
from collections.abc import Callable
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core import password as policy
from authsvc.core.password import MAX_BYTES, check, too_long
from authsvc.errors import WeakPassword
from tests.processes import in_time

CONTEXT = ("authsvc", "Acme Corp", "alice.smith@example.com", "user42")
PACKED = (resources.files("authsvc.core") / "blocklist.txt.gz").read_bytes()
LISTED = gzip.decompress(PACKED).decode().split("\n")


def refused(password: str, min_length: int = 15) -> str:
    with pytest.raises(WeakPassword) as refusal:
        check(password, min_length=min_length, context=CONTEXT)
    return str(refusal.value)


def test_length_counts_code_points() -> None:
    """Fourteen characters are too few and fifteen enough, however many bytes each has."""
    for char in ("a", "\u00e9", "\U0001f600"):
        assert "shorter than 15" in refused(char * 14)
        check(char * 15, min_length=15)


@pytest.mark.parametrize("char", ["a", "\u00e9", "\U0001f600"])
def test_at_most_1024_bytes(char: str) -> None:
    """1024 bytes of UTF-8 are accepted and one character more is not, at login as at change."""
    fits = char * (MAX_BYTES // len(char.encode()))
    check(fits, min_length=15)
    assert not too_long(fits)
    assert too_long(fits + char)
    assert "1024 bytes" in refused(fits + char)


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_gets_an_answer(password: str) -> None:
    """No string makes the check fail, and a refusal never repeats the password."""
    too_long(password)
    marked = f"zq{password}zq"  # zq: in no message of ours
    with pytest.raises(WeakPassword) as refusal:
        check(marked, min_length=8, context=[marked])
    assert "zq" not in str(refusal.value)


def test_megabytes_are_not_encoded() -> None:
    """A password with too many characters is refused before a copy of it is made."""

    class Unencodable(str):
        __slots__ = ()

        def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
            raise AssertionError("encoded")

    assert too_long(Unencodable("a" * 1025))


def test_lone_surrogates_are_refused() -> None:
    """A password that is not Unicode text is refused, and the login still answers."""
    assert "surrogate" in refused("a walk by the \ud800 river")
    assert not too_long("\ud800")


@pytest.mark.parametrize(
    "password",
    [
        "a" * 15,
        " " * 15,
        "a walk by the river",
        "a walk by the river ",
        "correct horse battery staple",
        "\U0001f600\U0001f680" * 8,
        "the password is swordfish",
        "alice walks by the river",
        "authsvc is what we build here",
        "xk2r9-qm4tz-71wpv",
        "4815926037482615",
        "98240175139a12345",  # "a12345" is listed
        "#~)\\D,i&=|;&.M>",  # so is "dim"
    ],
)
def test_no_rules_of_composition(password: str) -> None:
    """A password that is long enough and not listed is accepted: one character, spaces, emoji, phrases, digits."""
    check(password, min_length=15, context=CONTEXT)


def test_every_listed_password_is_refused() -> None:
    """Each password of the list is refused in any case. The list has far more than 3000."""
    assert len(LISTED) > 20_000
    for word in LISTED[::7]:
        for password in (word, word.upper()):
            if len(password) >= 8:
                refused(password, 8)


def test_decorated_and_repeated_words_are_refused() -> None:
    """Digits, punctuation and repetition do not make a listed word a good password."""
    picked = random.Random(1).sample([word for word in LISTED if word.isascii() and word.isalpha()], 300)
    for word in (*picked, "trustno1", "password1", "abc123"):
        if len(set(word)) == 1:
            continue
        for password in (
            word + "1234567890123",
            "2026 " + word + "!!!!!!!!!!",
            word.capitalize() + "#" + "2026" * 4,
            word * 6,
            "-".join([word] * 6),
            (word + "!") * 6,
            (word * 6)[: 6 * len(word) - 2],
        ):
            if len(password) >= 15:
                refused(password)


@pytest.mark.parametrize(
    "password",
    [
        "passwordpassword",
        "password1234567",
        "password1password2",
        "P@ssw0rd2026!!!",
        "p-a-s-s-w-o-r-d",
        "dragon31dragon47",
        "2026!agent007!!!",  # listed as it is, and not without its digits
        "aptx4869aptx4869",
        "123456789012345",
        "abcdefghijklmno",
        "ponmlkjihgfedcba",
        "qwertyuiopasdfg",
        "1qaz2wsx3edc4rfv",
        "\uff50assword1234567",
    ],
)
def test_well_known_long_ones_are_refused(password: str) -> None:
    """Fifteen characters do not help a password that everybody knows."""
    assert "commonly used" in refused(password)


@pytest.mark.parametrize(
    "password",
    [
        "authsvc2026!!!!!",
        "authsvc-authsvc-authsvc",
        "AuthsvcAuthsvcAut",
        "2026 Acme Corp 2026",
        "acmecorp12345678",
        "alice.smith@example.com",
        "alice.smith.2026",
        "AliceSmith!!!!!!",
        "smith1234567890",
        "alice-authsvc-2026",
        "user42!!!!!!!!!!",
        "user42user42user42",
    ],
)
def test_context_words_are_refused(password: str) -> None:
    """A password made of the username or a name of the service is refused."""
    assert "username or a name" in refused(password)


def test_context_is_what_forbids() -> None:
    """Without its context the same password is accepted, and a context word of one letter forbids nothing."""
    check("authsvc2026!!!!!", min_length=15)
    check("j83920175628461", min_length=15, context=["j"])


def test_breached_passwords_are_refused_exactly() -> None:
    """Further passwords can be refused; they are compared as received."""
    breached = {"a walk by the river"}
    with pytest.raises(WeakPassword, match="breach"):
        check("a walk by the river", min_length=15, breached=breached)
    check("a walk by the river ", min_length=15, breached=breached)


def test_passphrases_and_random_passwords_pass() -> None:
    """Thousands of three-word phrases and generated passwords are all accepted."""
    draw = random.Random(7)
    words = [word for word in LISTED if word.isascii() and word.isalpha() and len(word) > 3]
    generated = string.ascii_letters + string.digits + string.punctuation
    for _ in range(1000):
        for separator in (" ", "-", ""):
            phrase = separator.join(draw.sample(words, 3))
            if len(phrase) >= 15:
                check(phrase, min_length=15, context=CONTEXT)
        check("".join(draw.choices(generated, k=15)), min_length=15, context=CONTEXT)


def test_the_list_is_loaded_once() -> None:
    """The list of common passwords is read from the package once."""
    assert policy._blocklist() is policy._blocklist()


# NFKC makes 6,000 letters of it, and the check looks at 81 shapes of those.
DECORATED = "1" * 8 + "\ufdfa" * 335 + "2" * 8


@pytest.mark.parametrize(
    "password", ["!1" * 256 + "abc" * 100 + "!1" * 106, "ab" * 512, "\ufdfa" * 341, DECORATED], ids=range(4)
)
def test_the_check_of_one_password_is_bounded(password: str) -> None:
    """The check of the worst passwords takes a few times as long as normalising the longest one."""

    def checked() -> None:
        with contextlib.suppress(WeakPassword):
            check(password, min_length=15, context=["u" * 128])

    policy._blocklist()
    in_time(seconds(checked), 50 * seconds(lambda: policy._fold(DECORATED)))  # measured: 15 times at most


def seconds(work: Callable[[], object]) -> float:
    """The processor time of the fastest of some runs."""
    taken = []
    for _ in range(7):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return min(taken)
