"""Calls are given up in the middle, by those who made them and by their own deadlines."""

import asyncio
import random

from chaos.http import NoAnswer, connect, encoded
from chaos.lab import Control, Experiment, Lab
from chaos.variation import Patch, Variation

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
        await asyncio.sleep(lab.pick(6, 90))
        stopping.set()
        broken_off = sum(await asyncio.gather(*storm))
        proxy.delay_s = 0.0
        await asyncio.sleep(1)
    await world.sweep()
    lab.figure("broken off", broken_off)
    lab.figure("connections", proxy.most)
    lab.require(broken_off > 100, "setup", f"only {broken_off} calls were broken off")


def _stalling() -> float:
    """Most replies come at once, and some so late that calls run out of time, on connections that others want next.

    Not so many that the breaker opens: nobody would be lent anything.
    """
    (seconds,) = random.choices((0.002, 0.01, 0.3, 0.45, 0.7), (6, 4, 1, 1, 2))
    return seconds


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


# Ours says "disconnect" once more than the driver does by itself; a connection goes back with a reply to come when
# neither does.
NO_GUARD = [
    Patch(
        "driver/node.py",
        "        except BaseException:\n"
        "            await connection.disconnect(nowait=True)  # or whoever is lent it next would read these replies\n"
        "            raise\n",
        "",
    ),
    Patch(
        "driver/node.py",
        "replies.append(await connection.read_response())",
        "replies.append(await connection.read_response(disconnect_on_error=False))",
    ),
]
# The driver's last version that put a connection back into its pool with a reply still to come (CVE-2023-28859). It did
# so in its own client, through which everything is sent here; the rest is what the package needs to run on it.
OLD_DRIVER = [
    Patch(
        "driver/node.py",
        '        packed = b"".join([hiredis.pack_command(command) for command in commands])'
        "  # type: ignore[arg-type]  # its stub says tuple[X]\n",
        "        from redis.asyncio import Redis\n"
        "        client = Redis(connection_pool=self._pool)\n"
        "        client.response_callbacks.clear()\n"
        "        if len(commands) == 1:\n"
        "            try:\n"
        "                return [await client.execute_command(*commands[0])]\n"
        "            except ResponseError as refusal:\n"
        "                return [refusal]\n"
        "        pipeline = client.pipeline(transaction=False)\n"
        "        for command in commands:\n"
        "            pipeline.execute_command(*command)\n"
        "        return await pipeline.execute(raise_on_error=False)\n"
        '        packed = b""\n',
    ),
    Patch("driver/node.py", '"socket_timeout": None,', '"socket_timeout": REPLY_TIMEOUT_S,'),
    Patch("driver/node.py", "await self._pool.aclose()", "await self._pool.disconnect()"),
    Patch("driver/node.py", "import AbstractConnection, ", "import Connection as AbstractConnection, "),
    Patch("driver/connection.py", "import AbstractConnection\n", "import Connection as AbstractConnection\n"),
    Patch("driver/tracking.py", "import AbstractConnection\n", "import Connection as AbstractConnection\n"),
    Patch("driver/cluster.py", "import AbstractConnection, ", "import Connection as AbstractConnection, "),
    Patch("driver/connection.py", "    OutOfMemoryError,\n", ""),
    Patch("driver/connection.py", '    (OutOfMemoryError, "full"),\n', ""),
    Patch("driver/node.py", "from redis.maint_notifications import MaintNotificationsConfig\n", ""),
    Patch("driver/node.py", '        "maint_notifications_config": MaintNotificationsConfig(enabled=False),\n', ""),
]
# Whether a call runs out of time between two replies, and somebody is lent its connection before the late one comes, is
# chance.
GOES = 3
FOREIGN = ("Inv1", "Inv2", "Inv3", "Inv5")

EXPERIMENTS = (
    Experiment(
        "cancelled",
        10,
        "a hundred clients send something and reset the connection within 50 ms, while the store stalls for so long "
        "that calls run out of time between its replies",
        "no answer is another's",
        cancelled,
        [
            Control("a connection is kept with a reply to come", FOREIGN, Variation(NO_GUARD), GOES),
            Control("redis-py 4.5.3 (CVE-2023-28859)", FOREIGN, Variation(OLD_DRIVER, redis_py="4.5.3"), GOES),
        ],
    ),
)
