"""Where a login leads: nowhere but to this origin and the allowed ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.console.account.destination import HOME, destination

ALLOWED = ("https://app.example.org", "http://localhost:3000")
# What browsers take for an address elsewhere, or for a script.
HOSTILE = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    " //evil.example",
    "https://evil.example/",
    "https:evil.example",
    "https:/evil.example",
    "HTTPS://evil.example",
    "https://app.example.org.evil.example/",
    "https://app.example.org@evil.example/",
    "https://app.example.org:443@evil.example/",
    "https://app.example.org\\@evil.example/",
    "https://evil.example/https://app.example.org",
    "http://app.example.org/",
    "https://app.example.org:8443/",
    "javascript:alert(1)",
    "data:text/html,hello",
    "account",
    "?next=/",
    "",
    "/" + "a" * 4000,
]


@pytest.mark.parametrize("wanted", HOSTILE)
def test_hostile_addresses_lead_home(wanted: str) -> None:
    """An address that a browser could take for another origin leads to the account."""
    assert destination(wanted, ALLOWED) == HOME


@pytest.mark.parametrize(
    "wanted",
    [
        "/",
        "/account/password",
        "/orders?page=2#top",
        "/a//b",
        "/%2F%2Fevil.example",
        "https://app.example.org",
        "https://app.example.org/orders?page=2",
        "http://localhost:3000/#/login",
    ],
)
def test_own_and_allowed_addresses_stay(wanted: str) -> None:
    """A path of this origin, and a URL of an allowed origin, is where the browser goes."""
    assert destination(wanted, ALLOWED) == wanted


_PIECES = ("/", "\\", "https:", "//", "@", "evil.example", "app.example.org", ":443", "?", "#", "\t", " ", "..", "%2f")


@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=3), max_size=8).map("".join))
def test_every_answer_is_a_path_or_of_an_allowed_origin(wanted: str) -> None:
    """Whatever is wanted, the answer has one slash in front, or an allowed origin before its path."""
    answer = destination(wanted, ALLOWED)
    if answer.startswith("/"):
        assert not answer.startswith("//")
        assert answer.isascii()
        assert not set(answer) & set("\\\t\r\n ")
    else:
        (origin,) = [one for one in ALLOWED if answer.startswith(one)]
        assert answer.removeprefix(origin)[:1] in ("", "/", "?", "#")
