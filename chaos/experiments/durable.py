"""The cost of a revocation at each level of durability, without any fault."""

import asyncio
import time

from chaos.experiments.replicas import entered
from chaos.http import Http
from chaos.lab import Control, Experiment, Lab
from chaos.statistics import percentile
from chaos.variation import Variation
from chaos.world import Session
from tests.topologies import replicated

# The level of each group of workers, and how the store syncs its file meanwhile. `disk` needs the slower way.
LEVELS = (("local", "everysec"), ("replica", "everysec"), ("disk", "always"))


async def durability(lab: Lab) -> None:
    """Revoke one session after the other at each level. Each level has its own workers; the store has one replica."""
    store = await entered(lab, replicated(lab.directory / "nodes", "appendonly yes", "appendfsync always", replicas=1))
    per_group = {number: {"AUTHSVC_DURABILITY": level} for number, (level, _) in enumerate(LEVELS)}
    url = store.primary().url
    rig, world = await lab.set_up(users=20, groups=3, workers=1, store_url=url, per_group=per_group)
    if lab.variation.skip:
        await asyncio.to_thread(store.freeze_replication)
    count = lab.pick(100, 1000)
    for group, (level, syncs) in zip(rig.groups, LEVELS, strict=True):
        await asyncio.to_thread(store.primary().call, "CONFIG", "SET", "appendfsync", syncs)
        http = Http(group.port)
        found = [await world.login(world.users[number % len(world.users)]) for number in range(count)]
        sessions = [session for session in found if session]
        took = [await _revoked(lab, session, http, level) for session in sessions[:: 10 if lab.variation.skip else 1]]
        http.close()
        low, high = percentile(took, 50) * 1000, percentile(took, 99) * 1000
        lab.figure(f"{level} (appendfsync {syncs})", f"p50 {low:.2f} ms, p99 {high:.2f} ms")
        lab.require(len(sessions) == count, "setup", f"only {len(sessions)} of {count} logins succeeded")
    await world.sweep()


async def _revoked(lab: Lab, session: Session, http: Http, level: str) -> float:
    began = time.monotonic()
    call = await lab.world.revoke(session, http=http)
    lab.require(call.status == 200, "refused", f"a revocation at level {level} was answered {call.status}")
    return time.monotonic() - began


EXPERIMENTS = (
    Experiment(
        "durability",
        24,
        "nothing; sessions are revoked one after the other at each level of AUTHSVC_DURABILITY, with one replica",
        "each revocation is acknowledged; the figures are its cost",
        durability,
        [Control("replication is cut off", ("refused",), Variation(skip=True))],
        long_only=True,
    ),
)
