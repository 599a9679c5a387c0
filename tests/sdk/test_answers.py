"""Understanding what the service says: a yes only for what is one, and never a guess."""

import copy
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.sdk import INACTIVE, Active, Unavailable
from authsvc.sdk.answers import read

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
# Anything that JSON can say.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*GOOD, "x"]), inner),
    max_leaves=10,
)


def test_a_good_answer() -> None:
    """It is understood, and says until when it may be kept."""
    heard = read(GOOD, TOKEN)
    assert isinstance(heard.answer, Active)
    assert heard.answer.scopes == {"a", "b"}
    assert heard.recheck_at == 15


@pytest.mark.parametrize("body", [None, [], "active", {}, {"active": 1}, {"active": "true"}, {"active": None}])
def test_what_is_no_answer(body: object) -> None:
    """What does not say true or false says nothing."""
    with pytest.raises(Unavailable):
        read(body, TOKEN)


@pytest.mark.parametrize("missing", ["sub", "client_id", "session_id", "exp", "iat"])
def test_an_incomplete_answer(missing: str) -> None:
    """A yes that does not say for whom, or until when, is none."""
    with pytest.raises(Unavailable):
        read({name: value for name, value in GOOD.items() if name != missing}, TOKEN)


def test_an_answer_without_a_login() -> None:
    """A token that was issued without a login has no `auth_time`."""
    read_back = read({name: value for name, value in GOOD.items() if name != "auth_time"}, TOKEN).answer
    assert isinstance(read_back, Active)
    assert read_back.auth_time is None


def test_an_answer_about_another_token() -> None:
    """An answer is bound to its token: that of somebody else's session is no answer at all."""
    with pytest.raises(Unavailable):
        read(GOOD, tokens.new(Kind.ACCESS).text)


@pytest.mark.parametrize("kind", ["refresh_token", "bearer", None])
def test_only_access_tokens(kind: str | None) -> None:
    """Whatever else the service may call active opens nothing here."""
    assert read(GOOD | {"token_type": kind}, TOKEN).answer is INACTIVE


@given(st.sampled_from([*GOOD, "aud", "amr", "claims", "username"]), JSON)
def test_any_answer(field: str, value: Any) -> None:
    """Whatever stands in a field: a sound yes, a no, or no answer; and never another exception."""
    try:
        heard = read(copy.deepcopy(GOOD) | {field: value}, TOKEN)
    except Unavailable:
        return
    if isinstance(heard.answer, Active):
        assert all(isinstance(role, str) for role in heard.answer.roles)
        assert isinstance(heard.answer.exp, int)
        assert heard.answer.session_id == TOKEN[4:16]


@given(JSON)
def test_any_json(body: Any) -> None:
    """Nonsense is never a yes."""
    with suppress(Unavailable):
        assert read(body, TOKEN).answer is INACTIVE


@pytest.mark.parametrize("audience", ["orders", "billing"])
def test_the_audience(audience: str) -> None:
    """With an audience of its own, a resource server takes only tokens that are meant for it."""
    meant = read(GOOD | {"aud": ["orders"]}, TOKEN, audience)
    assert isinstance(meant.answer, Active) == (audience == "orders")
    assert read(GOOD, TOKEN, audience).answer is INACTIVE
