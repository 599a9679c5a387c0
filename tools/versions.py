"""Writes the version of authsvc/__init__.py, the one place that has it, into the SDKs: `python -m tools.versions`."""

import re
from pathlib import Path

import authsvc

ROOT = Path(__file__).parents[1]
# The files that repeat the version, and the text in front of it. The first match in a file is its version.
PLACES = {
    "sdk/python/authsvc_sdk/__init__.py": '__version__ = "',
    "sdk/node/package.json": '"version": "',
    "sdk/client/package.json": '"version": "',
}


def versions() -> dict[str, str]:
    """The version that each file has. An SDK that is not in this checkout has none."""
    return {
        name: found[1]
        for name, before in PLACES.items()
        if (ROOT / name).exists() and (found := _pattern(before).search((ROOT / name).read_text()))
    }


def _pattern(before: str) -> re.Pattern[str]:
    return re.compile(f'(?<={re.escape(before)})([^"]+)')


def main() -> None:
    for name in versions():
        path = ROOT / name
        path.write_text(_pattern(PLACES[name]).sub(authsvc.__version__, path.read_text(), count=1))


if __name__ == "__main__":
    main()
