"""The refresh tokens of a session: random bits, and a MAC by which the session recognises them."""

import math
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core import refresh_token as refresh_tokens
from authsvc.core import token as tokens
from authsvc.core.token import ALPHABET, LENGTH, SECRET_LENGTH, Kind, Token, parse
from tests.core.examples import HANDLE

seeds = st.text(ALPHABET, min_size=SECRET_LENGTH, max_size=SECRET_LENGTH)
MAC_BITS = 48


def test_a_refresh_token_keeps_its_size() -> None:
    """A refresh token has 49 characters and parses as one."""
    token = refresh_tokens.new(tokens.new_seed(), HANDLE)
    assert len(token.text) == LENGTH == 49
    assert parse(token.text, Kind.REFRESH) == token
    assert token.handle == HANDLE


def test_112_bits_are_random() -> None:
    """The MAC leaves 112 bits of the secret at least. They are drawn fairly, and do not repeat."""
    assert 62**SECRET_LENGTH >> MAC_BITS >= 2**112
    seed = tokens.new_seed()
    randoms = [refresh_tokens.new(seed, HANDLE).secret >> MAC_BITS for _ in range(5_000)]
    assert len(set(randoms)) == len(randoms)
    # Each bit is set in about half of the tokens: 6 standard deviations of 5,000 throws of a coin. The highest bits are
    # not, because 62^27 is no power of two.
    for bit in range(100):
        assert abs(sum(random >> bit & 1 for random in randoms) - 2_500) < 6 * math.sqrt(1_250)


@given(seeds, seeds)
def test_a_session_recognises_its_own_tokens(seed: str, other: str) -> None:
    """A token is genuine for its own session's seed only, also if it was derived from a spent one."""
    first = refresh_tokens.new(seed, HANDLE)
    second = refresh_tokens.successor(other, seed, first)
    for token in (first, second):
        assert refresh_tokens.is_genuine(seed, token)
        assert seed == other or not refresh_tokens.is_genuine(other, token)


@given(seeds, st.integers(0, 62**SECRET_LENGTH - 1), st.integers(0, 159))
def test_a_changed_secret_is_not_genuine(seed: str, secret: int, bit: int) -> None:
    """Neither an invented secret nor one with any other bit is genuine, nor the same secret under another handle."""
    genuine = refresh_tokens.new(seed, HANDLE)
    for number in (secret, genuine.secret ^ 1 << bit):
        token = tokens.assemble(Kind.REFRESH, HANDLE, number % 62**SECRET_LENGTH)
        assert token == genuine or not refresh_tokens.is_genuine(seed, token)
    moved = tokens.assemble(Kind.REFRESH, "0" * 12, genuine.secret)
    assert not refresh_tokens.is_genuine(seed, moved)


@given(seeds, seeds, seeds)
def test_the_successor_depends_on_all_that_it_is_derived_from(rotation: str, other: str, seed: str) -> None:
    """One spent token and one seed of a rotation always give the same successor. Any other input gives another."""
    spent = refresh_tokens.new(seed, HANDLE)
    derived = refresh_tokens.successor(rotation, seed, spent)
    assert derived == refresh_tokens.successor(rotation, seed, spent)
    assert derived != spent
    assert derived != refresh_tokens.successor(rotation, seed, refresh_tokens.new(seed, HANDLE))
    assert rotation == other or derived != refresh_tokens.successor(other, seed, spent)


def _drawn(count: int) -> list[Token]:
    return [refresh_tokens.new(tokens.new_seed(), HANDLE) for _ in range(count)]


def _derived(count: int) -> list[Token]:
    seed = tokens.new_seed()
    found = [refresh_tokens.new(seed, HANDLE)]
    for _ in range(count - 1):
        found.append(refresh_tokens.successor(tokens.new_seed(), seed, found[-1]))
    return found


@pytest.mark.parametrize("sample", [_drawn, _derived])
def test_every_character_is_equally_likely_at_every_place(sample: Callable[[int], list[Token]]) -> None:
    """The secret of a refresh token looks like that of any other token."""
    secrets = [token.text[16:43] for token in sample(6_200)]
    for place in zip(*secrets, strict=True):
        counts = Counter(place)
        # 61 degrees of freedom: mean 61, standard deviation 11. The first place is full by 99.9 %.
        assert sum((counts[c] - 100) ** 2 / 100 for c in ALPHABET) < 61 + 8 * 11


@given(st.integers(0, 62**SECRET_LENGTH - 1))
def test_a_secret_is_read_back_as_it_was_made(number: int) -> None:
    """The number of a token's secret is the number from which it was made."""
    assert tokens.assemble(Kind.REFRESH, HANDLE, number).secret == number
