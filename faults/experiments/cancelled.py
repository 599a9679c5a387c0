"""Calls are given up in the middle, by those who made them and by their own deadlines."""

import asyncio
import random

from faults.http import NoAnswer, connect, encoded
from faults.lab import Control, Experiment, Lab
from faults.variation import Patch, Variation

CLIENTS = 100
# Most calls change something: those take several commands, and run out of time between them.
READING_AND_WRITING = (20, 34, 34, 12)


async def cancelled(lab: Lab) -> None:
    rig, world = await lab.set_up(users=60, proxied=True)
    proxy = rig.proxy
    assert proxy is not None
    for user in world.users:
        await world.login(user)
    broken_off = 0
    async with lab.load(rate=150, actors=90, mix=READING_AND_WRITING).running():
        stopping = asyncio.Event()
        proxy.delay_s = _stalling
        storm = [asyncio.create_task(_broken_off(lab, stopping)) for _ in range(CLIENTS)]
        await asyncio.sleep(lab.pick(8, 90))
        stopping.set()
        broken_off = sum(await asyncio.gather(*storm))
        proxy.delay_s = 0.0
        await asyncio.sleep(1)
    await world.sweep()
    lab.figure("broken off", broken_off)
    lab.figure("connections", proxy.most)
    lab.require(broken_off > 100, "setup", f"only {broken_off} calls were broken off")


def _stalling() -> float:
    """Some replies come at once and some so late that calls run out of time between them, on connections in use."""
    return random.choice((0.002, 0.01, 0.3, 0.45))


async def _broken_off(lab: Lab, stopping: asyncio.Event) -> int:
    """Send something and reset the connection within 50 ms, again and again; returns how often."""
    count = 0
    world = lab.world
    while not stopping.is_set():
        await asyncio.sleep(random.uniform(0.5, 1.0))
        user = random.choice(world.users)
        session = random.choice(world.sessions)
        requests = (
            encoded("POST", "/introspect", form={"token": session.access}, headers=world.admin),
            encoded("GET", "/me", headers={"Authorization": f"Bearer {session.access}"}),
            encoded(
                "POST", "/login", document={"username": user.username, "password": user.password}, headers=user.headers
            ),
        )
        try:
            line = await connect(random.choice(lab.rig.groups).port)
        except NoAnswer:
            continue
        line.writer.write(random.choice(requests))
        await asyncio.sleep(random.uniform(0, 0.05))
        line.reset()
        count += 1
    return count


# The driver's last version that put a connection back into its pool with a reply still to come (CVE-2023-28859), and
# what the package needs to run on it.
OLD_DRIVER = [
    Patch("store/node.py", "Redis.from_pool(pool)", "Redis(connection_pool=pool)"),
    Patch("store/node.py", "self._redis.aclose()", "self._redis.close()"),
    Patch("store/node.py", "import AbstractConnection, ", "import Connection as AbstractConnection, "),
    Patch("store/connection.py", "import AbstractConnection\n", "import Connection as AbstractConnection\n"),
    Patch("store/tracking.py", "import AbstractConnection\n", "import Connection as AbstractConnection\n"),
    Patch("store/cluster.py", "import AbstractConnection, ", "import Connection as AbstractConnection, "),
    Patch("store/node.py", "from redis.maint_notifications import MaintNotificationsConfig\n", ""),
    Patch("store/node.py", '        "maint_notifications_config": MaintNotificationsConfig(enabled=False),\n', ""),
]

EXPERIMENTS = (
    Experiment(
        "cancelled",
        10,
        "a hundred clients send something and reset the connection within 50 ms, while the store stalls for so long "
        "that calls run out of time between its replies",
        "no answer is another's",
        cancelled,
        [
            Control(
                "redis-py 4.5.3 (CVE-2023-28859)",
                ("Inv1", "Inv2", "Inv3", "Inv5"),
                Variation(OLD_DRIVER, redis_py="4.5.3"),
            ),
        ],
    ),
)
