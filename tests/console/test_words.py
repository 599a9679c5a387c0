"""Times, numbers and devices as people say them."""

import pytest

from authsvc.console import words

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (0, "just now"), (59, "just now"), (60, "1 minute ago"), (3599, "59 minutes ago"), (7200, "2 hours ago"),
        (86400 * 2, "2 days ago"), (86400 * 400, "27 Oct 2025"), (-5, "in a moment"), (-3600, "in 1 hour"),
    ],
)  # fmt: skip
def test_times(distance: int, text: str) -> None:
    """A time is told by its distance, and a far one by its date."""
    now = 1796083200.0  # 1 Dec 2026
    assert words.ago(now - distance, now) == text


def test_numbers() -> None:
    assert words.counted(1, "session") == "1 session"
    assert words.counted(1204, "session", at_least=True) == "at least 1,204 sessions"
    assert words.counted(0, "query") == "0 queries"
    assert words.duration(5400) == "1 hour"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["roles", "status"], "roles, status"), ([], "none"), (True, "yes"), (False, "no"), ([True, 2], "yes, 2"),
        (3, "3"), ("a", "a"), ({"ü": [1]}, '{"ü": [1]}'),
    ],
)  # fmt: skip
def test_details(value: object, text: str) -> None:
    """Details of an event are no Python."""
    assert words.detail(value) == text


@pytest.mark.parametrize(
    ("user_agent", "text"),
    [
        (CHROME, "Chrome on Windows"),
        ("Chrome 142 on Windows", "Chrome on Windows"),  # as sessions store it
        ("okhttp/5.1.0", "okhttp/5.1.0"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit", "A browser on iPhone"),  # cut off
        (None, "Unknown device"),
    ],
)
def test_devices(user_agent: str | None, text: str) -> None:
    """A browser is told by its name and system; other programs by their own text."""
    assert words.device_of(user_agent) == text


def test_characters_that_show_nothing_are_marked() -> None:
    """Control and format characters are replaced; the joiners of scripts and emoji stay."""
    assert words.visible("a\u202eb\x00c\u2028") == "a\ufffdb\ufffdc\ufffd"
    assert words.visible("नमस्\u200dते, 👩\u200d💻, a\nb") == "नमस्\u200dते, 👩\u200d💻, a\nb"
