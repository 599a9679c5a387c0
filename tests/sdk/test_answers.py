"""Reading the service's answers: only a complete, matching answer becomes a yes."""

import copy
from contextlib import suppress
from typing import Any

import pytest
from authsvc_sdk import INACTIVE, Active, Unavailable
from authsvc_sdk.answers import read
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core import token as tokens
from authsvc.core.token import Kind

TOKEN = tokens.new(Kind.ACCESS).text
GOOD: dict[str, Any] = {
    "active": True,
    "token_type": "Bearer",
    "sub": "4fQ0kzPq1LxA",
    "client_id": "app",
    "session_id": TOKEN[4:16],
    "scope": "a b",
    "exp": 20,
    "iat": 10,
    "auth_time": 10,
    "roles": ["editor"],
    "version": 3,
    "recheck_at": 15,
}
# Any JSON value.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*GOOD, "x"]), inner),
    max_leaves=10,
)


def test_a_good_answer() -> None:
    """A complete answer becomes Active, with the time until which it may be cached."""
    timed = read(GOOD, TOKEN)
    assert isinstance(timed.answer, Active)
    assert timed.answer.scopes == {"a", "b"}
    assert timed.recheck_at == 15


@pytest.mark.parametrize("body", [None, [], "active", {}, {"active": 1}, {"active": "true"}, {"active": None}])
def test_what_is_no_answer(body: object) -> None:
    """An answer without a boolean `active` is no answer."""
    with pytest.raises(Unavailable):
        read(body, TOKEN)


@pytest.mark.parametrize("missing", ["sub", "client_id", "session_id", "exp", "iat"])
def test_an_incomplete_answer(missing: str) -> None:
    """An active answer without a subject, a client, a session or times is no answer."""
    with pytest.raises(Unavailable):
        read({name: value for name, value in GOOD.items() if name != missing}, TOKEN)


def test_deeply_nested_claims() -> None:
    """An answer that nests deeper than Python can follow is no answer."""
    claims: dict[str, Any] = {}
    for _ in range(5000):
        claims = {"a": claims}
    with pytest.raises(Unavailable):
        read(GOOD | {"claims": claims}, TOKEN)


def test_an_answer_without_a_login() -> None:
    """A token that was issued without a login has no `auth_time`."""
    read_back = read({name: value for name, value in GOOD.items() if name != "auth_time"}, TOKEN).answer
    assert isinstance(read_back, Active)
    assert read_back.auth_time is None


def test_an_answer_with_a_vouched_login() -> None:
    """The level and the client that vouches are in the answer; they are None if the service tells none."""
    plain, vouched = (read(GOOD | more, TOKEN).answer for more in ({}, {"acr": "aal2", "vouched_by": "idp", "new": 1}))
    assert isinstance(plain, Active)
    assert isinstance(vouched, Active)
    assert (plain.acr, plain.vouched_by) == (None, None)
    assert (vouched.acr, vouched.vouched_by) == ("aal2", "idp")


def test_an_answer_about_another_token() -> None:
    """An answer about another session than the token's is no answer."""
    with pytest.raises(Unavailable):
        read(GOOD, tokens.new(Kind.ACCESS).text)


@pytest.mark.parametrize("kind", ["refresh_token", "bearer", None])
def test_only_access_tokens(kind: str | None) -> None:
    """An active answer for another kind of token is Inactive."""
    assert read(GOOD | {"token_type": kind}, TOKEN).answer is INACTIVE


@given(st.sampled_from([*GOOD, "aud", "amr", "acr", "vouched_by", "claims", "username"]), JSON)
def test_any_answer(field: str, value: Any) -> None:
    """Any value in any field leads to a well-formed Active, to Inactive or to Unavailable."""
    try:
        timed = read(copy.deepcopy(GOOD) | {field: value}, TOKEN)
    except Unavailable:
        return
    if isinstance(timed.answer, Active):
        assert all(isinstance(role, str) for role in timed.answer.roles)
        assert isinstance(timed.answer.exp, int)
        assert timed.answer.session_id == TOKEN[4:16]


@given(JSON)
def test_any_json(body: Any) -> None:
    """Random JSON never becomes Active."""
    with suppress(Unavailable):
        assert read(body, TOKEN).answer is INACTIVE


@pytest.mark.parametrize("audience", ["orders", "billing"])
def test_the_audience(audience: str) -> None:
    """A resource server with an audience accepts only tokens that name this audience."""
    meant = read(GOOD | {"aud": ["orders"]}, TOKEN, audience)
    assert isinstance(meant.answer, Active) == (audience == "orders")
    assert read(GOOD | {"aud": "orders"}, TOKEN, audience) == meant
    assert read(GOOD, TOKEN, audience).answer is INACTIVE
