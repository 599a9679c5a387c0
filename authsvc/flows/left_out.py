"""Recording how many events of a user the audit trail left out."""

import asyncio
import math

from authsvc.core.event import About, Event
from authsvc.flows.deps import SERVICE, Deps, audit

# How often a worker looks for hours that have ended.
LOOK_S = 60


async def record_left_out(deps: Deps) -> None:
    """Record the events that were left out, after each hour and when the worker stops."""
    try:
        while True:
            await asyncio.sleep(LOOK_S)
            await write_left_out(deps, deps.clock())
    finally:
        await write_left_out(deps, math.inf)


async def write_left_out(deps: Deps, until: float) -> None:
    """Record what was left out in the hours that have ended by then."""
    for actor, sub, hour, events in deps.store.audit.limit.left_out(until):
        await audit(deps, SERVICE, Event.AUDIT_LEFT_OUT, About(sub), by=actor, events=events, hour=hour)
