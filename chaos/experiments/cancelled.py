"""Calls end in the middle, because the client resets its connection or because the time for the store is over."""

import asyncio
import random

from chaos.http import Http, NoAnswer, connect, encoded
from chaos.lab import Control, Experiment, Lab
from chaos.variation import Patch, Variation
from chaos.world import Session, World

CLIENTS = 100
# Most calls change something. Such a call sends several commands, and its time can be over between two of them.
READING_AND_WRITING = (20, 34, 34, 12)
# A request has 0.8 s for all its commands. A refresh reads its session with the fourth command and writes it with the
# fifth. With these delays the time is over after such a command was sent and 0.1 s before its reply comes.
REQUEST_S = 0.8
DELAYS_S = [REQUEST_S / (command - early) for command in (4, 5) for early in (0.45, 0.55, 0.65)]


async def cancelled(lab: Lab) -> None:
    rig, world = await lab.set_up(users=60, proxied=True)
    proxy = rig.proxy
    assert proxy is not None
    sessions = [session for user in world.users if (session := await world.login(user))]
    for number, delay_s in enumerate(DELAYS_S * 2):
        first, second = sessions[2 * number : 2 * number + 2]
        await _late_reply(lab, first, second, delay_s)
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


async def _late_reply(lab: Lab, first: Session, second: Session, delay_s: float) -> None:
    """Let the time of a refresh be over before its reply comes; refresh another session before that reply is there.

    Both requests use one connection, so one worker serves them. Its pool lends the second request the connection to the
    store that the first one has just given back.
    """
    http, proxy = Http(lab.rig.groups[0].port), lab.rig.proxy
    assert proxy is not None
    proxy.delay_s = delay_s
    await lab.world.refresh(first, http=http)
    proxy.delay_s = 0.0  # a reply that is under way stays late
    await lab.world.refresh(second, http=http)
    await asyncio.sleep(delay_s)
    http.close()


def _stalling() -> float:
    """A delay: most replies come at once, and some so late that the time of a call is over before them.

    More late replies would open the breaker. Then no call would get a connection.
    """
    (seconds,) = random.choices((0.002, 0.01, 0.3, 0.45, 0.7), (6, 4, 1, 1, 2))
    return seconds


async def _broken_off(lab: Lab, stopping: asyncio.Event) -> int:
    """Send a request and reset the connection within 50 ms, again and again; returns how often."""
    count = 0
    while not stopping.is_set():
        await asyncio.sleep(random.uniform(0.5, 1.0))
        try:
            line = await connect(random.choice(lab.rig.groups).port)
        except NoAnswer:
            continue
        line.writer.write(_request(lab.world))
        await asyncio.sleep(random.uniform(0, 0.05))
        line.reset()
        count += 1
    return count


def _request(world: World) -> bytes:
    user, session = random.choice(world.users), random.choice(world.sessions)
    password = {"username": user.username, "password": user.password}
    return random.choice(
        (
            encoded("POST", "/introspect", form={"token": session.access}, headers=world.admin),
            encoded("GET", "/me", headers={"Authorization": f"Bearer {session.access}"}),
            encoded("POST", "/login", document=password, headers=user.headers),
        )
    )


# Our code and the driver's both disconnect after a failure. Only without both does a connection go back to the pool
# before its reply has come.
NO_GUARD = [
    Patch(
        "driver/node.py",
        "        except BaseException as error:\n"
        "            locate(error, place(connection))\n"
        "            await connection.disconnect(nowait=True)  # or the next borrower would read these replies\n"
        "            raise\n",
        "",
    ),
    Patch(
        "driver/node.py",
        "replies.append(await connection.read_response())",
        "replies.append(await connection.read_response(disconnect_on_error=False))",
    ),
]
# The last version of the driver that gave a connection back to its pool before the reply had come (CVE-2023-28859). The
# fault is in the driver's own client, so here the client sends all commands. The other patches let the package run on
# that version.
OLD_DRIVER = [
    Patch(
        "driver/node.py",
        '        packed = b"".join([pack(command) for command in commands])\n',
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
    Patch("driver/redis_py.py", '"socket_timeout": None,', '"socket_timeout": timeouts.reply_s,'),
    Patch("driver/node.py", "await self._pool.aclose()", "await self._pool.disconnect()"),
    *(
        Patch(f"driver/{file}.py", "import AbstractConnection\n", "import Connection as AbstractConnection\n")
        for file in ("node", "pipe", "rights", "watch", "tracking")
    ),
    Patch("driver/redis_py.py", "import AbstractConnection, ", "import Connection as AbstractConnection, "),
    Patch("driver/errors.py", "    OutOfMemoryError,\n", ""),
    Patch("driver/errors.py", '    (OutOfMemoryError, "full"),\n', ""),
    Patch("driver/redis_py.py", "from redis.maint_notifications import MaintNotificationsConfig\n", ""),
    Patch("driver/redis_py.py", '        "maint_notifications_config": MaintNotificationsConfig(enabled=False),\n', ""),
    Patch("driver/redis_py.py", "from redis.driver_info import DriverInfo\n", ""),
    Patch("driver/redis_py.py", "_DRIVER = DriverInfo()\n", ""),
    Patch("driver/redis_py.py", '        "driver_info": _DRIVER,\n', ""),
]
FOREIGN = ("Inv1", "Inv2", "Inv3", "Inv5")

EXPERIMENTS = (
    Experiment(
        "cancelled",
        10,
        "refreshes run out of time just before a reply of the store, and another session is refreshed at once; then a "
        "hundred clients send requests and reset the connection within 50 ms, while the store stalls",
        "no answer belongs to another request",
        cancelled,
        [
            Control("a connection is kept with a reply to come", FOREIGN, Variation(NO_GUARD)),
            Control("redis-py 4.5.3 (CVE-2023-28859)", FOREIGN, Variation(OLD_DRIVER, redis_py="4.5.3")),
        ],
    ),
)
