"""A short, readable name for a device, from the user agent that it sends."""

import re
from typing import Final

MAX_LABEL: Final = 120  # some user agents are kilobytes long

# The first that matches names the browser: nearly all browsers also claim to be Chrome or Safari.
_BROWSERS: Final = (
    ("Edge", re.compile(r"\bEdg(?:A|iOS)?/(\d+)")),
    ("Opera", re.compile(r"\bOPR/(\d+)")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/(\d+)")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"\b(?:Chrome|CriOS)/(\d+)")),
    ("Safari", re.compile(r"\bVersion/(\d+)[.\d]* (?:Mobile/\w+ )?Safari/")),
)
# The first that is in the text names the system: Android also says Linux, and an iPhone also says Mac OS X.
SYSTEMS: Final = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def label(user_agent: str) -> str:
    """Browser and system, such as "Chrome 142 on Linux"; of other programs the text itself, cut at 120 characters.

    A million sessions store it, and the whole text of a browser takes a third of a session's record.
    """
    text = user_agent[: 4 * MAX_LABEL]
    found = ((name, pattern.search(text)) for name, pattern in _BROWSERS)
    browser = next((f"{name} {match[1][:4]}" for name, match in found if match), None)
    system = next((name for word, name in SYSTEMS if word in text), None)
    if browser is None or system is None or not text.startswith("Mozilla/"):
        return text[:MAX_LABEL]
    return f"{browser} on {system}"
