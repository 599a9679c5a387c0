"""Users of an export: which are accepted and which are refused."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.imported_hash_text import accept
from authsvc.core.user_import import FIELDS, ImportedUser
from authsvc.errors import InvalidRequest
from tests.hashes import SAMPLES

NOW = 1_700_000_000.0


def test_all_fields() -> None:
    """Lists and objects are read from JSON, and from the texts of a table."""
    wanted = ImportedUser(
        "ada", "Ada", "s-1", accept(SAMPLES["devise"]), ("a", "b"), {"team": ["blue"]}, "suspended", 1_600_000_000
    )
    json = {"roles": ["a", "b"], "claims": {"team": ["blue"]}, "created_at": 1_600_000_000}
    table = {"roles": "a, b", "claims": '{"team": ["blue"]}', "created_at": "2020-09-13T12:26:40Z"}
    common = {"username": "Ada", "sub": "s-1", "password_hash": SAMPLES["devise"], "status": "suspended"}
    for fields in (json, table):
        assert ImportedUser.of(common | fields, NOW) == wanted


@pytest.mark.parametrize(
    ("value", "at"),
    [
        (None, NOW),
        ("", NOW),
        (0, 0),
        ("1600000000", 1_600_000_000),
        (1600000000.9, 1_600_000_000),
        ("2020-09-13 12:26:40", 1_600_000_000),
        ("2020-09-13T14:26:40.5+02:00", 1_600_000_000),
    ],
)
def test_times(value: Any, at: float) -> None:
    """A time without a zone is in UTC."""
    assert ImportedUser.of({"username": "ada", "created_at": value}, NOW).created_at == at


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"username": ""},
        {"username": 7},
        {"username": "a b"},
        {"sub": "with space"},
        {"sub": "s", "password_hash": SAMPLES["devise"]},
        {"username": "ada", "password_hash": "plain text"},
        {"username": "ada", "password_hash": 7},
        {"username": "ada", "status": "locked"},
        {"username": "ada", "roles": ["with space"]},
        {"username": "ada", "roles": [7]},
        {"username": "ada", "roles": {"a": 1}},
        {"username": "ada", "claims": "not JSON"},
        {"username": "ada", "claims": ["a"]},
        {"username": "ada", "claims": {"a": "x" * 5000}},
        {"username": "ada", "claims": {"a": 10**30}},
        {"username": "ada", "claims": {"a": "\0"}},
        {"username": "ada", "claims": {"a": "\ud800"}},
        {"username": "ada", "claims": "[" * 4000 + "]" * 4000},
        {"username": "ada", "claims": {"a": [[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]}},
        {"username": "ada", "created_at": "yesterday"},
        {"username": "ada", "created_at": -1},
        {"username": "ada", "created_at": NOW + 10 * 86400},
        {"username": "ada", "created_at": float("nan")},
        {"username": "ada", "created_at": "9" * 400},
        {"username": "ada", "created_at": True},
    ],
)
def test_refusals(fields: dict[str, Any]) -> None:
    """Each refusal has a reason that does not repeat the value."""
    with pytest.raises(InvalidRequest) as refusal:
        ImportedUser.of(fields, NOW)
    for value in fields.values():
        if isinstance(value, str) and len(value) > 8:
            assert value not in str(refusal.value)


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING | st.sampled_from(sorted(SAMPLES.values()))))
def test_anything_is_a_user_or_refused(fields: dict[str, Any]) -> None:
    """An accepted user can be stored and read back."""
    with suppress(InvalidRequest):
        user = ImportedUser.of({"username": "ada"} | fields, NOW).user("s-1", NOW)
        assert msgspec.json.decode(user.to_json(), type=type(user)) == user
