"""The slots of a cluster move, and one of its primaries dies."""

import asyncio
import time

from authsvc.store import keys
from chaos.experiments.replicas import OUTAGE_S, REPLICA, entered
from chaos.lab import Control, Experiment, Lab
from chaos.variation import Patch, Variation
from chaos.waiting import until_it
from chaos.world import Session
from tests.topologies import NODE_TIMEOUT_MS, Cluster, ServerProcess, cluster


async def cluster_failures(lab: Lab) -> None:
    # Only revocations wait for the replica, so a failover may lose logins and rotations.
    lab.tolerated = ("Inv3", "Inv4")
    store: Cluster = await entered(lab, cluster(lab.directory / "nodes", primaries=3, replicas=1))
    _, world = await lab.set_up(store_url=store.url, settings=REPLICA)
    world.by_id = True
    found = [await world.login(user) for user in world.users[: lab.pick(6, 24)]]
    sessions = [session for session in found if session]
    async with lab.load(rate=80).running():
        began = time.monotonic()
        for session in sessions:
            await _move(lab, store, session)
        during = [call for call in lab.calls if call.sent > began]
        failed = [call for call in during if call.status in (0, 503)]
        lab.figure("slots moved", len(sessions))
        lab.figure("failed meanwhile", f"{len(failed)} of {len(during)}")
        lab.require(len(failed) <= len(during) // 100, "moved", f"{len(failed)} calls failed while slots moved")
        victim = await asyncio.to_thread(_least_needed, store)
        killed = time.monotonic()
        await asyncio.to_thread(victim.kill)
        await until_it(lambda: _all_answered(lab, sessions), OUTAGE_S)
        outage = time.monotonic() - killed
        await asyncio.sleep(1)
    await world.sweep()
    lab.figure("a primary killed", f"all slots served after {outage:.1f} s, node timeout {NODE_TIMEOUT_MS} ms")
    bound = NODE_TIMEOUT_MS / 1000 + 5
    lab.require(outage <= bound, "outage", f"some slots were not served for {outage:.1f} s")


async def _move(lab: Lab, store: Cluster, session: Session) -> None:
    """Move the slot of a session to another primary, and introspect the session during the move."""
    key = keys.session(session.handle)
    owner = await asyncio.to_thread(store.primary_of, key)
    others = [node for node in await asyncio.to_thread(store.primaries) if node is not owner]
    await asyncio.to_thread(store.move, key, others[0], finish=False)
    for _ in range(4):
        call = await lab.world.introspect(session.access)
        lab.require(call.status == 200, "moved", f"introspection during the move was answered {call.status}")
    await asyncio.to_thread(store.move, key, others[0])


def _least_needed(store: Cluster) -> ServerProcess:
    """A primary that does not hold the service record: each call reads that record."""
    needed = store.primary_of(keys.SERVICE)
    return next(node for node in store.primaries() if node is not needed)


async def _all_answered(lab: Lab, sessions: list[Session]) -> bool:
    calls = [await lab.world.introspect(session.access) for session in sessions]
    return all(call.status == 200 for call in calls) and await lab.world.login(lab.world.users[0]) is not None


NEVER_ASKS = Patch(
    "driver/cluster_map.py", "if isinstance(error, AskError) and not isinstance(error, MovedError):", "if key is None:"
)

EXPERIMENTS = (
    Experiment(
        "cluster",
        7,
        "slots of sessions in use are moved, and each session is introspected meanwhile; then a primary is killed "
        "(three primaries with a replica each, AUTHSVC_DURABILITY=replica)",
        "at most 1 % of calls fail during the moves; all slots are served 5 s after the node timeout",
        cluster_failures,
        [Control("no ASK redirection is followed", ("moved",), Variation([NEVER_ASKS]))],
    ),
)
