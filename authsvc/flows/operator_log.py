"""Writing the events of the command line to the service's log, so that the log has every audit event."""

import asyncio
from contextlib import suppress

from authsvc.errors import StoreUnavailable
from authsvc.flows.deps import Deps

# How often a worker looks. An event of a command reaches the log within about this time.
LOOK_S = 1.0


async def log_operator(deps: Deps) -> None:
    """Write each event of the command line once, also those of commands that ran while no service did."""
    while True:
        with suppress(StoreUnavailable):  # the events stay in the trail, and the store may be back soon
            await write_operator_events(deps)
        await asyncio.sleep(LOOK_S)


async def write_operator_events(deps: Deps) -> None:
    """Write the events that the log lacks, unless another worker is writing them. Raises StoreUnavailable."""
    events = deps.store.operator_events
    if not (await events.is_behind() and await events.lease.take()):
        return
    try:
        entries, upto = await events.unlogged()
        for stored in entries:
            deps.store.audit.log(stored.entry, at=stored.at)
        await events.set_logged(upto)  # last: a line may come twice, and none may be missing
    finally:
        await events.lease.release()
