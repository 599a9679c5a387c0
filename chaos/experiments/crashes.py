"""Processes die: a worker, and the store."""

import asyncio
import os
import random
import signal
import time

from chaos.lab import Control, Experiment, Lab
from chaos.nginx import NO_WORKER
from chaos.processes import Serve
from chaos.statistics import percentile
from chaos.variation import Patch, Variation
from chaos.waiting import until, until_it

# The longest time of an answer while the store is down.
ANSWER_S = 1.5
RECOVER_S = 2.0
RESPAWN_S = 2.0


async def worker_kill(lab: Lab) -> None:
    rig, world = await lab.set_up()
    respawned: list[float] = []
    async with lab.load().running():
        for _ in range(lab.pick(3, 20)):
            await asyncio.sleep(lab.pick(1, 3))
            group = random.choice(rig.groups)
            respawned.append(await _kill_one(group))
            if respawned[-1] > RESPAWN_S:
                break
    await world.sweep()
    lab.figure("kills", len(respawned))
    lab.figure("next worker after", f"{percentile(respawned, 50):.1f} s, {max(respawned):.1f} s at most")
    lab.require(max(respawned) <= RESPAWN_S, "respawn", f"no new worker within {RESPAWN_S:g} s")
    # nginx sends no login twice, so the logins under way in the dead worker fail. All other calls must succeed.
    away = [call for call in lab.calls if call.status == 0 or call.result.error == NO_WORKER]
    failed = [call for call in away if call.kind != "login"]
    lab.require(not failed, "failed", f"{len(failed)} calls failed that another worker could have answered")


async def _kill_one(group: Serve) -> float:
    before = group.workers
    victim = random.choice(before)
    os.kill(victim, signal.SIGKILL)
    return await until(lambda: victim not in group.workers and len(group.workers) == len(before), RESPAWN_S)


async def store_kill(lab: Lab) -> None:
    rig, world = await lab.set_up()
    workers = rig.workers
    recovered: list[float] = []
    slowest = 0.0
    async with lab.load().running():
        for _ in range(lab.pick(1, 5)):
            await asyncio.sleep(1.5)
            rig.store.kill()
            down = time.monotonic()
            await asyncio.sleep(lab.pick(2, 5))
            up = time.monotonic()
            await asyncio.to_thread(rig.store.start)
            recovered.append(await until_it(lambda: _works(lab), 2 * RECOVER_S))
            slowest = max(slowest, _judge_outage(lab, down, up))
    await world.sweep()
    lab.figure("kills", len(recovered))
    lab.figure("slowest answer", f"{slowest:.2f} s")
    lab.figure("back after", f"{max(recovered):.2f} s at most")
    lab.require(max(recovered) <= RECOVER_S, "recovery", f"no answers {RECOVER_S:g} s after the store was back")
    lab.require(rig.workers == workers, "restart", "a worker was restarted, though only the store was down")


async def _works(lab: Lab) -> bool:
    answer = await lab.rig.http.call("GET", "/readyz")
    return answer.status == 200


def _judge_outage(lab: Lab, down: float, up: float) -> float:
    """Require a quick 503 for each call while the store was down. Returns the longest time of an answer."""
    during = [call for call in lab.calls if down < call.sent and call.answered < up]
    guessed = [call for call in during if call.status != 503]
    lab.require(not guessed, "outage", f"{len(guessed)} calls were not answered 503 without a store: {guessed[:1]}")
    slowest = max((call.answered - call.sent for call in during), default=0.0)
    lab.require(slowest <= ANSWER_S, "slow", f"an answer took {slowest:.2f} s without a store")
    return slowest


NO_SUPERVISOR = Patch("edge/workers.py", "                self._replace_the_dead()\n", "")
SAYS_NO = [
    Patch(
        "edge/fast_path.py",
        "from authsvc.flows.deps import Deps\n",
        "from authsvc.errors import StoreUnavailable\nfrom authsvc.flows.deps import Deps\n",
    ),
    Patch(
        "edge/fast_path.py",
        "        except Exception as error:",
        "        except StoreUnavailable:\n"
        '            first = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: 16\\r\\n"\n'
        "            body = b'{\"active\":false}'\n"
        "        except Exception as error:",
    ),
]

EXPERIMENTS = (
    Experiment(
        "store-kill",
        2,
        "kill -9 of the store, which is started again after some seconds",
        "meanwhile 503 within 1.5 s; answers 2 s after the store is back; no acknowledged change is lost; no worker "
        "restarts",
        store_kill,
        [
            Control("introspection answers `active: false` in an outage", ("Inv3", "outage"), Variation(SAYS_NO)),
            Control("the store writes no file", ("recovery", "Inv3"), Variation(store=["--appendonly", "no"])),
        ],
    ),
    Experiment(
        "worker-kill",
        12,
        "kill -9 of a random worker, again and again",
        "a new worker within 2 s; only logins under way in the dead worker fail",
        worker_kill,
        [Control("nobody replaces a dead worker", ("respawn",), Variation([NO_SUPERVISOR]))],
    ),
)
