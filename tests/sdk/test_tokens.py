"""Recognising tokens offline."""

from authsvc_sdk.tokens import handle_of, is_token
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core import token as tokens
from authsvc.core.token import ALPHABET, Kind


def of_the_service(text: str) -> bool:
    return tokens.parse(text, Kind.ACCESS) is not None


def test_every_access_token_is_recognised() -> None:
    """The SDK accepts every access token of the service and finds the same handle."""
    for _ in range(1000):
        token = tokens.new(Kind.ACCESS)
        assert is_token(token.text)
        assert handle_of(token.text) == token.handle


@given(st.sampled_from([Kind.REFRESH, Kind.RESET, Kind.SECRET]))
def test_other_kinds_are_refused(kind: Kind) -> None:
    """Refresh tokens, reset codes and client secrets are refused offline."""
    assert not is_token(tokens.new(kind).text)


@given(st.text() | st.text(ALPHABET, min_size=45, max_size=45).map("tok_".__add__))
def test_any_text_is_judged_as_by_the_service(text: str) -> None:
    """For any text, the SDK and the service agree on whether it has the form of an access token."""
    assert is_token(text) == of_the_service(text)


@given(st.integers(0, 48), st.sampled_from(ALPHABET + "_-\n é"))
def test_a_mistyped_token_is_judged_as_by_the_service(at: int, typed: str) -> None:
    """A wrong character at any place is refused offline, as by the service."""
    token = tokens.new(Kind.ACCESS).text
    mistyped = token[:at] + typed + token[at + 1 :]
    assert is_token(mistyped) == of_the_service(mistyped) == (mistyped == token)
