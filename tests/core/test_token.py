"""The text of tokens: format, check, randomness and secrecy."""

import base64
import binascii
import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authsvc.core import token as tokens
from authsvc.core.issuing import Pair
from authsvc.core.token import (
    ALPHABET,
    BEARER,
    DIGEST_LENGTH,
    HANDLE_LENGTH,
    KEY_WORD,
    LENGTH,
    SECRET_LENGTH,
    Kind,
    Token,
    foreign_handle,
    parse,
    stored_form,
    successor,
)
from tests.selection import slow

kinds = st.sampled_from(Kind)
handles = st.text(ALPHABET, min_size=HANDLE_LENGTH, max_size=HANDLE_LENGTH)
seeds = st.text(ALPHABET, min_size=SECRET_LENGTH, max_size=SECRET_LENGTH)

# Every character of the alphabet, and what a transport, a keyboard or an attacker may put in its place.
SUBSTITUTES = ALPHABET + "_-+/=. \n\r\t\0\x7féＡ٣\ud800"  # noqa: RUF001 - look-alikes are the point

# 61 degrees of freedom: beyond this once in some 10^12 honest samples.
CHI_SQUARE_61 = 170.0


@given(kinds, handles)
def test_round_trip(kind: Kind, handle: str) -> None:
    """A new token has 49 characters of the documented format and is recognised as what it is."""
    token = tokens.new(kind, handle)
    assert re.fullmatch(r"(tok|ref|rst|aut|dev|key|sec)_[0-9A-Za-z]{45}", token.text)
    assert len(token.text.encode()) == LENGTH == 49
    assert parse(token.text) == parse(token.text, kind) == token
    assert (token.kind, token.handle) == (kind, handle)


@settings(max_examples=15, deadline=None)
@given(kinds)
def test_every_change_of_one_character_is_refused(kind: Kind) -> None:
    """A token with one changed character is no token."""
    text = tokens.new(kind).text
    for at, held in enumerate(text):
        for other in SUBSTITUTES:
            if other != held:
                assert parse(text[:at] + other + text[at + 1 :]) is None


@given(kinds)
def test_every_truncation_and_extension_is_refused(kind: Kind) -> None:
    """A token with fewer or more characters is no token."""
    text = tokens.new(kind).text
    for cut in range(len(text)):
        assert parse(text[:cut]) is None
        assert parse(text[cut + 1 :]) is None
        assert parse(text[:cut] + text[cut + 1 :]) is None
    for more in SUBSTITUTES:
        assert parse(text + more) is None
        assert parse(more + text) is None


@given(kinds, st.integers(0, 43))
def test_swapped_neighbours_are_refused(kind: Kind, at: int) -> None:
    """The check digits detect two swapped neighbours, which is a common typing error."""
    text = tokens.new(kind).text
    swapped = text[: 4 + at] + text[5 + at] + text[4 + at] + text[6 + at :]
    assert swapped == text or parse(swapped) is None


@given(st.text(max_size=80) | st.from_regex(r"([a-z]{1,4}_)?(tok|key|sec)_[0-9A-Za-z]{45}", fullmatch=True))
def test_any_string_is_answered_without_error(text: str) -> None:
    """Parsing never raises. A parsed token has exactly the given text."""
    token = parse(text)
    assert token is None or token.text == text


def test_the_check_is_the_crc_of_all_before_it() -> None:
    """Secret scanners can compute the check digits as documented: fixed examples."""
    body = "tok_" + "0" * HANDLE_LENGTH + "0" * SECRET_LENGTH

    crc, digits = binascii.crc32(body.encode()), ""
    for _ in range(6):
        crc, digit = divmod(crc, 62)
        digits = ALPHABET[digit] + digits
    assert crc == 0
    assert parse(body + digits) == Token(body + digits, Kind.ACCESS, "0" * HANDLE_LENGTH)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("wanted", Kind)
def test_a_kind_works_only_where_it_belongs(kind: Kind, wanted: Kind) -> None:
    """A token of one kind is refused in another kind's place, also with the other's prefix."""
    text = tokens.new(kind).text
    assert (parse(text, wanted) is not None) == (kind is wanted)
    if kind is not wanted:
        assert parse(wanted + text[3:]) is None


words = st.from_regex(KEY_WORD, fullmatch=True)


@given(words, handles)
def test_a_key_with_a_word_in_front(word: str, handle: str) -> None:
    """A key is recognised with any word in front. So an installation can change the word, and old keys work on."""
    token = tokens.new(Kind.KEY, handle, word)
    assert re.fullmatch(rf"{word}_key_[0-9A-Za-z]{{45}}", token.text)
    assert parse(token.text) == parse(token.text, Kind.KEY) == parse(token.text, *BEARER) == token
    assert token.handle == handle
    assert parse(token.text, Kind.ACCESS) is None


@given(words, words)
def test_the_check_digits_cover_the_word(word: str, other: str) -> None:
    """A key with another word, without its word, or with a word that it did not have is no token."""
    text = tokens.new(Kind.KEY, word=word).text
    assert parse(text.removeprefix(f"{word}_")) is None
    assert word == other or parse(f"{other}_{text.removeprefix(f'{word}_')}") is None
    assert parse(f"{other}_{tokens.new(Kind.KEY).text}") is None
    assert parse(f"{other}_{text}") is None
    assert parse(text.replace("_key_", "_tok_")) is None


@settings(max_examples=15, deadline=None)
@given(words)
def test_every_change_of_a_key_with_a_word_is_refused(word: str) -> None:
    """A key with one changed, missing or additional character is no token, in the word too."""
    text = tokens.new(Kind.KEY, word=word).text
    for at, held in enumerate(text):
        assert parse(text[:at] + text[at + 1 :]) is None
        for other in SUBSTITUTES:
            assert other == held or parse(text[:at] + other + text[at + 1 :]) is None
    for more in SUBSTITUTES:
        assert parse(text + more) is None
        assert parse(more + text) is None


FOREIGN = ("sk_live_", "pat-")


@given(st.sampled_from(FOREIGN), st.text("0123456789abcdefABCDEF._~+/=-", min_size=16, max_size=190))
def test_foreign_keys(prefix: str, rest: str) -> None:
    """A foreign key is recognised by its prefix. Its handle follows from its digest, which an import knows."""
    text = prefix + rest
    token = parse(text, *BEARER, foreign=FOREIGN)
    assert token == parse(text, foreign=FOREIGN)
    assert token is not None
    digest = hashlib.sha256(text.encode()).digest()
    assert (token.kind, token.handle, token.digest) == (Kind.KEY, foreign_handle(digest), stored_form(digest))
    assert tokens.is_handle(token.handle)
    assert text not in repr(token)
    assert parse(text) is None
    assert parse(text, Kind.ACCESS, foreign=FOREIGN) is None
    assert parse(text, foreign=("other_",)) is None


@pytest.mark.parametrize("rest", ["", "0" * 11, "0" * 193, "0" * 30 + " ", "0" * 30 + "\n", "0" * 30 + "é", "\0" * 30])
def test_what_is_no_foreign_key(rest: str) -> None:
    """A foreign key has 20 to 200 characters that a bearer token may have."""
    assert parse("sk_live_" + rest, foreign=FOREIGN) is None


def test_a_foreign_prefix_opens_no_other_kind() -> None:
    """A token of our own is judged by its own form, also if the settings name its prefix as foreign."""
    for kind in Kind:
        text = tokens.new(kind).text
        assert parse(text, foreign=(f"{kind}_",)) == parse(text)
        assert parse(text[:-1] + ("0" if text[-1] != "0" else "1"), foreign=(f"{kind}_",)) is None


@pytest.mark.slow
def test_handles_do_not_repeat() -> None:
    """Many handles are all different. A token contains its handle, so as many tokens are different too."""
    assert len({tokens.new_handle() for _ in range(100_000)}) == 100_000


def test_secrets_do_not_repeat_under_one_handle() -> None:
    """The secrets alone are all different, so tokens with one handle differ too."""
    assert len({tokens.new(Kind.ACCESS, "0" * HANDLE_LENGTH).digest for _ in range(20_000)}) == 20_000


def test_randomness_is_drawn_from_the_whole_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each handle and each secret is one draw from the whole range of its characters."""
    asked: list[int] = []

    def largest(bound: int) -> int:
        asked.append(bound)
        return bound - 1

    monkeypatch.setattr("authsvc.core.token.secrets.randbelow", largest)
    token = tokens.new(Kind.ACCESS)
    assert asked == [62**HANDLE_LENGTH, 62**SECRET_LENGTH]
    assert token.text[4:-6] == ALPHABET[-1] * (HANDLE_LENGTH + SECRET_LENGTH)


def _derived(count: int) -> list[str]:
    seed, spent = tokens.new_seed(), tokens.new(Kind.REFRESH)
    found = []
    for _ in range(count):
        spent = successor(seed, spent, Kind.REFRESH)
        found.append(spent.text[4 + HANDLE_LENGTH : 4 + HANDLE_LENGTH + SECRET_LENGTH])
    return found


def _drawn(count: int) -> list[str]:
    return [tokens.new(Kind.ACCESS).text[4 : 4 + HANDLE_LENGTH + SECRET_LENGTH] for _ in range(count)]


def _seeds(count: int) -> list[str]:
    return [tokens.new_seed() for _ in range(count)]


@pytest.mark.parametrize("sample", [_drawn, slow(_derived), slow(_seeds)])
def test_uniform_alphabet(sample: Callable[[int], list[str]]) -> None:
    """Every character is equally likely at every place, in random tokens, derived tokens and seeds."""
    texts = sample(12_000)
    for place in zip(*texts, strict=True):
        expected = len(texts) / len(ALPHABET)
        counts = Counter(place)
        assert counts.keys() <= set(ALPHABET)
        assert sum((counts[c] - expected) ** 2 / expected for c in ALPHABET) < CHI_SQUARE_61
    pairs = Counter(a + b for text in texts for a, b in zip(text, islice(text, 1, None), strict=False))
    expected = sum(pairs.values()) / len(ALPHABET) ** 2
    # Neighbours are independent too: 62^2 - 1 degrees of freedom, mean 3843, standard deviation 88.
    assert sum((pairs[a + b] - expected) ** 2 / expected for a in ALPHABET for b in ALPHABET) < 3843 + 8 * 88


@given(seeds, seeds, handles)
def test_successors(seed: str, other_seed: str, handle: str) -> None:
    """One spent token and one seed always give the same successors. Any other input gives others."""
    spent = tokens.new(Kind.REFRESH, handle)
    access, refresh = (successor(seed, spent, kind) for kind in (Kind.ACCESS, Kind.REFRESH))
    assert access == successor(seed, spent, Kind.ACCESS)
    assert parse(access.text, Kind.ACCESS) == access
    assert parse(refresh.text, Kind.REFRESH) == refresh
    assert access.handle == refresh.handle == handle
    assert refresh != spent
    assert access.text[4:] != refresh.text[4:]
    assert successor(seed, tokens.new(Kind.REFRESH, handle), Kind.ACCESS) != access
    assert seed == other_seed or successor(other_seed, spent, Kind.ACCESS) != access


@given(kinds)
def test_the_stored_form_is_sha256_with_as_many_bits_as_the_secret(kind: Kind) -> None:
    """The stored digest is the SHA-256 of the whole text."""
    token = tokens.new(kind)
    standard = token.digest.replace("-", "+").replace("_", "/")  # of base64's two alphabets either will do
    assert base64.b64encode(hashlib.sha256(token.text.encode()).digest()).decode().startswith(standard)
    assert len(standard) == DIGEST_LENGTH
    assert SECRET_LENGTH * math.log2(62) <= 6 * DIGEST_LENGTH, "no less than what it stands for"
    assert token.digest.startswith(token.short_digest)
    assert len(token.short_digest) == 8


@given(kinds)
def test_no_representation_shows_the_text(kind: Kind) -> None:
    """No repr, format or exception shows the text of a token."""
    token = tokens.new(kind)
    pair = Pair(token, token)
    for shown in (
        repr(token),
        str(token),
        f"{token}",
        f"{token!a}",
        repr(pair),
        repr([token]),
        repr(ValueError(token)),
    ):
        assert token.text not in shown
        assert token.text[4 + HANDLE_LENGTH : -6] not in shown


@pytest.mark.parametrize("text", ["", "4fQ0kzPq1Lx", "4fQ0kzPq1LxAA", "4fQ0kzPq1Lx{", "4fQ0kzPq1LxA\n", "٣" * 12])
def test_what_is_no_handle(text: str) -> None:
    """A handle is exactly 12 characters of the alphabet, so it cannot break out of a key."""
    assert not tokens.is_handle(text)
    assert tokens.is_handle(tokens.new_handle())
