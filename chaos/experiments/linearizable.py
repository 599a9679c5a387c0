"""Every history of concurrent calls has an order that explains all answers, checked by Porcupine."""

import asyncio
import os
import random
import signal

from chaos import linearizability
from chaos.clients import crowds
from chaos.histories import Histories
from chaos.lab import Control, Experiment, Lab
from chaos.processes import ExperimentError
from chaos.rig import Rig
from chaos.stale import KEPT_FOR_100_MS, not_compared
from chaos.variation import Variation
from chaos.waiting import until_it
from chaos.world import admin_headers

# The delay of each reply of the store while the store is slow.
SLOW_S = 0.02
BACK_WITHIN_S = 15


async def linearizable(lab: Lab) -> None:
    # Without a grace a refresh ends the previous access token at once, so there is one right answer at each moment.
    settings = {"AUTHSVC_REFRESH_GRACE_S": "0", "AUTHSVC_DURABILITY": "disk"}
    rig, world = await lab.set_up(users=0, groups=1, workers=3, proxied=True, settings=settings)
    histories = Histories(rig.groups[0].port, admin_headers(rig.admin))
    async with crowds(histories):
        await asyncio.sleep(lab.pick(3, 60))
        if not lab.variation.patches:  # a control is red in the calm already
            for _ in range(lab.pick(1, 10)):
                await _faults(lab)
            lab.require(histories.away > 0, "setup", "no call met a fault of the store")
    world.secrets |= histories.secrets
    await _judge(lab, histories)


async def _faults(lab: Lab) -> None:
    rig = lab.rig
    for _ in range(3):
        os.kill(random.choice(rig.groups[0].workers), signal.SIGKILL)
        await asyncio.sleep(0.7)
    for _ in range(2):
        rig.store.signal(signal.SIGSTOP)
        await asyncio.sleep(1.5)
        rig.store.signal(signal.SIGCONT)
        await _back(rig)
    assert rig.proxy is not None
    rig.proxy.delay_s = SLOW_S
    await asyncio.sleep(2)
    rig.proxy.delay_s = 0
    rig.store.kill()
    await asyncio.sleep(0.5)
    await asyncio.to_thread(rig.store.start)
    await _back(rig)


async def _back(rig: Rig) -> None:
    """Wait until the service is ready, and let the clients make calls. Raises ExperimentError."""

    async def ready() -> bool:
        return (await rig.http.call("GET", "/readyz")).status == 200

    if await until_it(ready, BACK_WITHIN_S) > BACK_WITHIN_S:
        raise ExperimentError("the service is not ready again")
    await asyncio.sleep(1)


async def _judge(lab: Lab, histories: Histories) -> None:
    operations, surprises = histories.operations, histories.surprises
    found = await asyncio.to_thread(linearizability.verdicts, operations, lab.directory)
    unknown = sum(one.result is None for one in operations)
    lab.figure("calls", f"{len(operations)} in {len(found)} histories")
    lab.figure("503s", histories.away)
    lab.figure("unanswered", histories.unanswered)
    lab.figure("of unknown result", unknown)
    lab.require(not surprises, "status", f"{len(surprises)} answers that no call may get, such as {surprises[:1]}")
    for one in found:
        about = f"the history of {one.user} ({one.operations} calls)"
        lab.require(one.verdict != "Illegal", "order", f"no order explains {about}: {one.user}.html")
        lab.require(one.verdict != "Unknown", "unchecked", f"Porcupine gave up {about}")


EXPERIMENTS = (
    Experiment(
        "linearizable",
        25,
        "16 clients read and change sessions and users through three workers on one server, first in the calm; then "
        "workers get kill -9, and the store is stopped, slow, and killed and started again",
        "Porcupine finds an order of the calls that explains all answers: `/introspect`, `/introspect/batch` and "
        "`/verify` with their roles, login, refresh, revocation, cut-off, suspension, change of roles. A read that got "
        "503 does not count, and a change that got 503 may happen at any time later",
        linearizable,
        [
            Control("each worker answers from a cache for 100 ms", ("order",), Variation(KEPT_FOR_100_MS)),
            Control(
                "a remembered answer is given without comparing the user's record",
                ("order",),
                Variation(not_compared("user")),
            ),
        ],
        needs=linearizability.missing,
    ),
)
