"""Scopes: their form, their order, and what is granted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.scope import MAX_LENGTH, RESERVED, parse, within
from authsvc.errors import InvalidScope

# RFC 6749 section 3.3: %x21 / %x23-5B / %x5D-7E
CHARSET = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"\\')
words = st.text(CHARSET, min_size=1, max_size=12).filter(lambda word: word not in RESERVED)
scopes = st.lists(words, max_size=8)


@given(scopes)
def test_round_trip(members: list[str]) -> None:
    """A scope comes back with each word once, in the given order. Parsing it again changes nothing."""
    parsed = parse(" ".join(members))
    assert parsed.split() == list(dict.fromkeys(members))
    assert parse(parsed) == parsed


@given(st.text(max_size=40))
def test_any_text_is_a_scope_or_refused(text: str) -> None:
    """An accepted scope has only the characters of the RFC and single spaces. Any other text is invalid_scope."""
    try:
        parsed = parse(text)
    except InvalidScope:
        return
    assert set(parsed) <= set(CHARSET + " ")
    assert parsed.split(" ") == parsed.split() or parsed == ""


@pytest.mark.parametrize(
    "text",
    [
        " ", "read ", " read", "read  write", "read\twrite", "read\nwrite", 'a"b', "a\\b", "ünï", "a\u00a0b",
        "admin", "read admin", "admin read", "a\0", "a" * (MAX_LENGTH + 1),
    ],
)  # fmt: skip
def test_refused(text: str) -> None:
    """Stray spaces, other characters, long texts and the reserved word are refused."""
    with pytest.raises(InvalidScope):
        parse(text)
    with pytest.raises(InvalidScope):
        within(text, None)


@pytest.mark.parametrize("text", ["Admin", "admin:read", "administrator"])
def test_only_the_word_itself_is_reserved(text: str) -> None:
    """Scopes are case-sensitive, so only the exact word `admin` is reserved."""
    assert parse(text) == text


@given(scopes, scopes)
def test_within(requested: list[str], granted: list[str]) -> None:
    """A request is granted if each of its words is granted. None grants any word, and the empty scope none."""
    text = " ".join(requested)
    assert within(text, None) == parse(text)
    if set(requested) <= set(granted):
        assert within(text, " ".join(granted)) == parse(text)
    else:
        with pytest.raises(InvalidScope):
            within(text, " ".join(granted))
