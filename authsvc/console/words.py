"""What a program knows, as people say it: times, durations, numbers, devices, and text that others have chosen."""

import json
import unicodedata
from datetime import UTC, datetime
from typing import Any

from authsvc.core import device

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_UNITS = ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute"))
# After this many days, a date says more than a number of days.
_DAYS_IN_WORDS = 30
_JOINERS = "\u200c\u200d"
# Characters that a text may hold although they show nothing: line breaks, and the joiners of some scripts and emoji.
_KEPT = frozenset(f"\n\t{_JOINERS}")
_REPLACED = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
REPLACEMENT = "\ufffd"


def counted(number: int, noun: str, *, at_least: bool = False) -> str:
    """A number with its noun, such as `1 session` or `1,204 sessions`."""
    return f"{'at least ' if at_least else ''}{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    return f"{noun[:-1]}ies" if noun.endswith("y") and not noun.endswith(("ay", "ey", "oy")) else f"{noun}s"


def sentence(text: str) -> str:
    """The text of an error as a sentence."""
    return f"{text[:1].upper()}{text[1:]}."


def detail(value: Any) -> str:
    """A value of JSON as people read it: a list with commas between, and `yes` for true."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(detail(one) for one in value) or "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def duration(seconds: float) -> str:
    """A length of time in its largest unit, such as `2 hours`."""
    for size, unit in _UNITS:
        if seconds >= size:
            return counted(int(seconds // size), unit)
    return counted(int(seconds), "second")


def ago(at: float, now: float) -> str:
    """A time by its distance from now: `just now`, `5 minutes ago`, `in 2 days`; a date if it is far."""
    distance = now - at
    if abs(distance) < _MINUTE:
        return "just now" if distance >= 0 else "in a moment"
    if abs(distance) >= _DAYS_IN_WORDS * _DAY:
        return f"{datetime.fromtimestamp(at, UTC):%-d %b %Y}"
    return f"{duration(distance)} ago" if distance > 0 else f"in {duration(-distance)}"


def exact(at: float) -> str:
    """The time as people can copy it, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(at: float) -> str:
    """The time for programs (RFC 3339)."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def device_of(user_agent: str | None) -> str:
    """The browser and the system, without versions: `Chrome on Windows`. Other programs by their own text."""
    if not user_agent:
        return "Unknown device"
    browser, on, system = device.label(user_agent).partition(" on ")
    if not on:
        return _unnamed(user_agent) or browser
    name, _, version = browser.rpartition(" ")
    return f"{name} on {system}" if name and version.isascii() and version.isdigit() else f"{browser} on {system}"


def _unnamed(user_agent: str) -> str | None:
    """A browser that does not say its name, or whose text was cut; None for other programs."""
    if not user_agent.startswith("Mozilla/"):
        return None
    system = next((name for word, name in device.SYSTEMS if word in user_agent), None)
    return f"A browser on {system}" if system else "A browser"


def visible(text: str) -> str:
    """The text with a mark for each character that shows nothing or reorders its neighbours.

    Names, devices and user agents are chosen by others, and must not imitate the words of the page.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(REPLACEMENT if unicodedata.category(one) in _REPLACED and one not in _KEPT else one for one in text)
