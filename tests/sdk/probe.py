"""A resource server in a process of its own, which checks one token without pause and writes each answer down.

A line has three parts: `A`ctive, `I`nactive or `U`navailable; `c` for a cached answer, else `-`; and the machine's
monotonic clock at the answer. SIGUSR1 moves the wall clock of this process forward by a day.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from authsvc_sdk import Active, AsyncIntrospector, Introspector, Unavailable, clock, feed
from authsvc_sdk.cache import Cache

PAUSE_S = 0.002


def line(cached: bool, check: Callable[[], object]) -> str:
    try:
        said = "A" if isinstance(check(), Active) else "I"
    except Unavailable:
        said = "U"
    return f"{said} {'c' if cached else '-'} {time.monotonic()}"


async def probe(settings: dict[str, Any], token: str) -> None:
    async with AsyncIntrospector(**settings) as ask:
        while True:
            cached = ask.cached(token) is not None
            try:
                answer = await ask.introspect(token)
                answer_line = line(cached, lambda: answer)  # noqa: B023 - called at once
            except Unavailable:
                answer_line = f"U - {time.monotonic()}"
            print(answer_line, flush=True)  # noqa: T201 - the test reads the output
            await asyncio.sleep(PAUSE_S)


def probe_in_threads(settings: dict[str, Any], token: str) -> None:
    with Introspector(**settings) as ask:
        while True:
            print(line(ask.cached(token) is not None, lambda: ask.introspect(token)), flush=True)  # noqa: T201
            time.sleep(PAUSE_S)


def break_on_purpose(how: str) -> None:
    """Remove a safety of the cache, for the controls."""
    if how == "unbounded":
        Cache.confirm = lambda self, moment: setattr(self, "_fresh_until", float("inf"))  # type: ignore[method-assign]
        Cache.disconnect = lambda self: None  # type: ignore[method-assign]
    elif how == "by arrival":
        feed._MAX_LATE_S = float("inf")
        confirm = Cache.confirm
        Cache.confirm = lambda self, moment: confirm(self, clock.now())  # type: ignore[method-assign]


def step(*_: object) -> None:
    real = time.time
    time.time = lambda: real() + 86_400


def main() -> None:
    order = json.loads(sys.argv[1])
    signal.signal(signal.SIGUSR1, step)
    break_on_purpose(order["broken"])
    if order["threads"]:
        probe_in_threads(order["settings"], order["token"])
    else:
        asyncio.run(probe(order["settings"], order["token"]))


if __name__ == "__main__":
    main()
