"""Nothing is broken: the reference for the other experiments, and a long run that watches memory and keys."""

import asyncio

from authsvc.store import keys
from chaos.http import Http
from chaos.lab import Control, Experiment, Lab
from chaos.load import CHANGING, MIXED
from chaos.processes import rss_mib
from chaos.stale import NEVER_COMPARED
from chaos.statistics import percentile
from chaos.variation import Patch, Variation

# How much a worker may grow in an hour, once it is warm.
MIB_AN_HOUR = 1.0
# How much a worker may grow in a short run, which cannot tell growth from the noise of the allocator.
MIB_IN_SHORT = 8.0


async def baseline(lab: Lab) -> None:
    _, world = await lab.set_up()
    await lab.load(mix=lab.pick(CHANGING, MIXED), rate=lab.pick(150, 300)).run(lab.pick(4, 60))
    await _revoked_in_use(lab)
    await world.sweep()
    took = [call.answered - call.sent for call in lab.calls if call.kind == "introspect"]
    lab.figure("p50", f"{percentile(took, 50) * 1000:.1f} ms")
    lab.figure("p99", f"{percentile(took, 99) * 1000:.1f} ms")
    wrong = [call for call in lab.calls if call.status != 200 and not (call.kind == "other" and call.status == 201)]
    lab.require(not wrong, "errors", f"{len(wrong)} calls failed though nothing was broken: {wrong[:1]}")


async def _revoked_in_use(lab: Lab) -> None:
    """Revoke sessions whose answers a worker has just remembered, and ask the same worker again."""
    http = Http(lab.rig.groups[0].port)  # one connection, so one worker
    for user in lab.world.users[:5]:
        session = await lab.world.login(user)
        if session is not None:
            for _ in range(2):  # a worker remembers an answer at its second question
                await lab.world.introspect(session.access, http=http)
            await lab.world.revoke(session)
            await lab.world.introspect(session.access, http=http)
    http.close()


async def soak(lab: Lab) -> None:
    rig, world = await lab.set_up()
    load = lab.load(mix=CHANGING)
    await load.run(lab.pick(2, 60))
    before = {pid: rss_mib(pid) for pid in rig.workers}
    await load.run(lab.pick(6, max(lab.soak_s - 60, 60)))
    grown = max(rss_mib(pid) - mib for pid, mib in before.items())
    hours = max(lab.soak_s - 60, 60) / 3600
    lab.figure("grown by", f"{grown:.1f} MiB a worker")
    # A MiB or two is noise. A leak in each call is far above this.
    lab.require(grown < (MIB_IN_SHORT + MIB_AN_HOUR * hours), "memory", f"a worker grew by {grown:.1f} MiB")
    await asyncio.sleep(0.5)
    with rig.store.open() as store:
        live = sum(not session.over for session in world.sessions)
        held = sum(1 for _ in store.scan_iter("session:*", count=1000))
        of_use = ("session:*", "sessions:*", "throttle:*", keys.AUDIT)
        for_ever = [key for kind in of_use for key in store.scan_iter(kind, count=1000) if store.ttl(key) == -1]
    lab.figure("keys", f"{held} for {live} live sessions")
    lab.require(abs(held - live) <= max(1, live // 100), "keys", f"{held} sessions are stored, {live} are alive")
    lab.require(not for_ever, "keys", f"{len(for_ever)} keys never expire, such as {for_ever[:1]}")
    await world.sweep()


NO_END = Patch(
    "store/sessions.py",
    "self._connection.create_beside(listing, self.key(handle), encoded, session.end, others)",
    "self._connection.create_beside(listing, self.key(handle), encoded, None, others)",
)

EXPERIMENTS = (
    Experiment(
        "baseline",
        1,
        "nothing; a mixed load runs through nginx",
        "every call succeeds",
        baseline,
        [
            Control(
                "workers give remembered answers without comparing records",
                ("Inv1",),
                Variation(NEVER_COMPARED),
            )
        ],
    ),
    Experiment(
        "soak",
        23,
        "nothing; the load runs for a long time",
        "memory and the number of keys stay flat; each key of a session, a limit or the audit trail expires",
        soak,
        [Control("sessions are stored without an end", ("keys",), Variation([NO_END]))],
    ),
)
