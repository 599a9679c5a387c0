"""Waits until something is true, and says how long that took."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable


async def until(done: Callable[[], bool], seconds: float) -> float:
    """The seconds until `done` was true; infinite if that took longer than `seconds`."""

    async def asked() -> bool:
        return done()

    return await until_it(asked, seconds)


async def until_it(done: Callable[[], Awaitable[bool]], seconds: float) -> float:
    started = time.monotonic()
    while True:
        if await done():
            return time.monotonic() - started
        if time.monotonic() - started > seconds:
            return math.inf
        await asyncio.sleep(0.02)
