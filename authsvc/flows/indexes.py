"""Filling the indexes at the start, in the background: of admins, of users, and of the newest sessions."""

import asyncio

from authsvc.errors import StoreUnavailable
from authsvc.flows.deps import Deps
from authsvc.store.filled import Filled

# How often a worker looks whether an index is filled, and how long it pauses between two steps of filling it.
LOOK_AGAIN_S = 2.0
PAUSE_S = 0.01


async def fill_admins(deps: Deps) -> None:
    """Fill the index of admins."""
    await _fill(deps, deps.store.admins)


async def fill_lists(deps: Deps) -> None:
    """Fill the indexes behind the lists of users and sessions."""
    await _fill(deps, deps.store.indexes)


async def _fill(deps: Deps, index: Filled) -> None:
    """Fill an index, unless another worker does so from now on.

    Every start fills it again: workers of an older version, which do not know the index, may have left out entries.
    """
    started = deps.clock()
    while True:
        try:
            if (await index.filled_at() or 0) >= started:
                return
            if await index.lease.take():
                await index.fill(deps.clock(), pause_s=PAUSE_S)
                await index.lease.release()
                return
        except StoreUnavailable:
            pass  # the store may be back soon
        await asyncio.sleep(LOOK_AGAIN_S)
