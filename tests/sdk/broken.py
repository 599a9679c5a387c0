"""Runs the example of the Python SDK with a safety of its cache removed, for the controls of the promise suite.

python -m tests.sdk.broken unbounded|by-arrival
"""

import runpy
import sys
from pathlib import Path

from authsvc_sdk import clock, feed
from authsvc_sdk.cache import Cache

EXAMPLE = Path(__file__).parents[2] / "sdk" / "python" / "example" / "server.py"


def break_on_purpose(how: str) -> None:
    if how == "unbounded":
        Cache.confirm = lambda self, moment: setattr(self, "_fresh_until", float("inf"))  # type: ignore[method-assign]
        Cache.disconnect = lambda self: None  # type: ignore[method-assign]
    else:
        feed._MAX_LATE_S = float("inf")
        confirm = Cache.confirm
        Cache.confirm = lambda self, moment: confirm(self, clock.now())  # type: ignore[method-assign]


if __name__ == "__main__":
    break_on_purpose(sys.argv[1])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
