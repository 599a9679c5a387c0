"""Gathering the facts that `authsvc check` and `authsvc status` judge."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from authsvc.checks.facts import Facts, Seen, facts_of, look
from authsvc.cli.state import run, settings
from authsvc.cli.statuses import WrongSettings
from authsvc.errors import StartupError, StoreUnavailable
from authsvc.flows.deps import Deps
from authsvc.hashing.hasher import Hasher
from authsvc.settings import Settings

_ROUNDS = 3


def gather(also: Callable[[Deps], Awaitable[None]] | None = None) -> Facts:
    """Look at everything, changing nothing. Raises WrongSettings.

    also: looks at more in the same store, before the rest. A store that fails then is a problem of the store.
    """
    configured = settings()
    seen = Seen()
    problem: str | None = None
    todo: str | None = None

    async def work(deps: Deps) -> None:
        if also is not None:
            await also(deps)
        await look(seen, deps)

    try:
        run(work, unused=True)
    except WrongSettings:
        raise
    except StoreUnavailable as error:
        problem, todo = str(error), error.todo
    except StartupError as error:
        problem, todo = error.what, error.todo
    hash_ms = asyncio.run(_hash_ms(configured))
    return facts_of(configured, seen, time.time(), hash_ms=hash_ms, problem=problem, todo=todo)


async def _hash_ms(configured: Settings) -> float:
    hasher = Hasher(configured.argon2_profile, threads=1)
    try:
        taken = []
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            await hasher.hash("how long does this take here")
            taken.append(time.perf_counter() - began)
        return min(taken) * 1000
    finally:
        hasher.close()
