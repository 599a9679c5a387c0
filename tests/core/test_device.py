"""The name of a device."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.device import MAX_LABEL, label

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (CHROME, "Chrome 142 on Linux"),
        (f"{CHROME} Edg/141.0.0.0", "Edge 141 on Linux"),
        (CHROME.replace("X11; Linux x86_64", "Linux; Android 10; K"), "Chrome 142 on Android"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox 145 on Windows"),
        (f"{IPHONE}Version/26.0 Mobile/15E148 Safari/604.1", "Safari 26 on iPhone"),
        (f"{IPHONE}CriOS/142.0.7444.77 Mobile/15E148 Safari/604.1", "Chrome 142 on iPhone"),
    ],
)
def test_a_browser_gets_a_readable_name(user_agent: str, expected: str) -> None:
    """The name has browser, version and system, by which the owner recognises the device."""
    assert label(user_agent) == expected


@pytest.mark.parametrize(
    "user_agent",
    ["curl/8.7.1", "app/123.0.0.0.1 (10.0.0.0)", "Mozilla/5.0 (compatible; Bot/2.1)", "Chrome/142 for Linux", ""],
)
def test_other_programs_keep_their_text(user_agent: str) -> None:
    """The text of a program that is no known browser is stored as it was sent."""
    assert label(user_agent) == user_agent


@given(st.text(max_size=2000))
def test_the_name_is_short(user_agent: str) -> None:
    """The name of a device has a bound, whatever was sent."""
    assert len(label(user_agent)) <= MAX_LABEL
