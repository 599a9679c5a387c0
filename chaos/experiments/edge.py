"""Too many connections, very slow clients, and workers that are replaced under load."""

import asyncio
import math
import random
import resource
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import cast

from chaos.http import Http, Line, NoAnswer, connect
from chaos.journal import Call
from chaos.lab import Control, Experiment, Lab
from chaos.load import Load
from chaos.nginx import NO_WORKER
from chaos.processes import Serve, Store, open_files, rss_mib
from chaos.statistics import percentile
from chaos.variation import Patch, Variation
from chaos.waiting import until
from chaos.world import Session

RSS_MIB = 300.0
RECOVER_S = 5.0
ANSWER_S = 3.0
# A worker cuts off a dripping client after 10 s and looks once a second. The rest is for a busy machine.
HELD_S = 15.0
# The p99 of other clients meanwhile, on busy cores.
P99_S = 0.5
# How long the other clients are watched meanwhile.
DRIPPED_S = 9.0
EXIT_S = 10.0
# Browsers that log in again and again at each group while its workers are replaced.
PER_GROUP = 6
FEW_DESCRIPTORS = 256
# How long clients want more connections than a worker takes, while the store is away. Within this time a worker notices
# that each of its connections to the store is dead, and closes it.
PRESSED_S = 3.0


async def exhaustion(lab: Lab) -> None:
    rig, world = await lab.set_up(users=12)
    tight = rig.groups[1]
    await _with_few_descriptors(tight)
    before = {pid: open_files(pid) for pid in rig.workers}
    known = Http(tight.port)  # its connection is open before all others
    session = await world.login(world.users[0], http=known)
    asked: list[Call] = []
    asking = asyncio.create_task(_keep_asking(lab, known, session, asked))
    opened = await _without_descriptors(lab, tight, asked)
    async with lab.load(rate=60, mix=(80, 8, 8, 4)).running():
        await asyncio.sleep(0.5)
        opened += await _opened(rig.groups[0].port, lab.pick(800, 4000))
        await _served(lab, asked)
        asking.cancel()
        biggest = max(rss_mib(pid) for pid in rig.workers)
        for line in opened:
            line.close()
        gone = time.monotonic()
        await until(lambda: all(open_files(pid) <= before[pid] + 40 for pid in rig.workers), 2 * RECOVER_S)
        back = time.monotonic() - gone
        await _with_few_clients(rig.store)
        healed = time.monotonic()
        await asyncio.sleep(RECOVER_S)
    # More calls at once than one connection carries.
    burst = await asyncio.gather(*[world.introspect(session.access if session else "") for _ in range(100)])
    refused = [call for call in burst if call.status != 200]
    lab.require(not refused, "recovery", f"{len(refused)} of 100 calls at once are refused when all is well again")
    await world.sweep()
    lab.figure("connections", len(opened))
    lab.figure("largest worker", f"{biggest:.0f} MiB")
    lab.figure("descriptors back after", f"{back:.1f} s")
    lab.require(biggest < RSS_MIB, "memory", f"a worker has {biggest:.0f} MiB")
    lab.require(back <= RECOVER_S, "descriptors", f"descriptors are not given back within {RECOVER_S:g} s")
    slowest = max(call.answered - call.sent for call in lab.calls)
    lab.figure("slowest answer", f"{slowest:.2f} s")
    lab.require(slowest < ANSWER_S, "slow", f"an answer took {slowest:.1f} s")
    late = [call for call in lab.calls if call.sent > healed + RECOVER_S / 2 and call.status in (0, 503)]
    lab.require(not late, "recovery", f"{len(late)} calls failed when all was well again")


async def _without_descriptors(lab: Lab, tight: Serve, asked: list[Call]) -> list[Line]:
    """Restart the store while clients want every descriptor of the group; returns their connections.

    A worker without a reserve has no descriptor left when the store comes back, so it cannot connect again. There is no
    other load yet: a connection that ends would leave its descriptor to the store, by chance.
    """
    opened = await _opened(tight.port, 800)
    await _served(lab, asked)
    lab.rig.store.kill()
    opened += await _pressed(tight)
    await asyncio.to_thread(lab.rig.store.start)
    await until(lambda: bool(asked) and asked[-1].status == 200, RECOVER_S)
    await _served(lab, asked)
    return opened


async def _with_few_clients(store: Store) -> None:
    """Let the store take only 50 connections for two seconds."""
    with store.open() as client:
        client.config_set("maxclients", 50)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.sleep(2)
        client.config_set("maxclients", 10_000)


async def _keep_asking(lab: Lab, known: Http, session: Session | None, asked: list[Call]) -> None:
    """Introspect so often on one connection that the worker never closes it as idle."""
    while True:
        asked.append(await lab.world.introspect(session.access if session else "", http=known))
        await asyncio.sleep(0.2)


async def _served(lab: Lab, asked: list[Call]) -> None:
    """Require an answer on the open connection, however many clients want a connection."""
    known = len(asked) + 1  # one call may have begun before
    await until(lambda: len(asked) >= known + 5, 10)
    lab.require(len(asked) > known, "starved", "nothing is answered on an open connection")
    for call in asked[known:]:
        lab.require(call.status == 200, "starved", f"on an open connection introspection is answered {call.status}")


async def _with_few_descriptors(group: Serve) -> None:
    """Replace the workers of a group by workers that inherit a low limit of descriptors."""
    resource.prlimit(group.pid, resource.RLIMIT_NOFILE, (FEW_DESCRIPTORS, FEW_DESCRIPTORS))
    await _renewed(group)


async def _renewed(group: Serve) -> float:
    before = set(group.workers)
    group.signal(signal.SIGHUP)
    return await until(lambda: before.isdisjoint(group.workers) and len(group.workers) == len(before), 30)


async def _opened(port: int, count: int) -> list[Line]:
    lines = []
    for _ in range(count):
        try:
            lines.append(await connect(port))
        except NoAnswer:
            continue
    return lines


async def _pressed(group: Serve) -> list[Line]:
    """Open connections for PRESSED_S, and then until a worker that takes nearly all descriptors has taken all."""
    lines = []
    began = time.monotonic()
    while time.monotonic() < began + PRESSED_S or any(
        FEW_DESCRIPTORS - 50 <= open_files(pid) < FEW_DESCRIPTORS for pid in group.workers
    ):
        lines += await _opened(group.port, 20)
        await asyncio.sleep(0.05)
    return lines


async def rolling(lab: Lab) -> None:
    """SIGHUP for each group again and again; then SIGTERM for one group while the store is silent."""
    rig, world = await lab.set_up(users=24, proxied=True)
    assert rig.proxy is not None
    rig.proxy.delay_s = 0.015  # a login takes about 0.15 s
    took: list[float] = []
    async with lab.load(rate=60, mix=(40, 40, 15, 5)).running():
        stopping = asyncio.Event()
        logins = [asyncio.create_task(_logging_in(lab, group, stopping)) for group in rig.groups * PER_GROUP]
        for _ in range(lab.pick(1, 10)):
            for group in rig.groups:
                await asyncio.sleep(lab.pick(0.5, 1.5))
                took.append(await _renewed(group))
        await asyncio.sleep(1)
        stopping.set()
        await asyncio.gather(*logins)
    await world.sweep()
    # A busy machine may keep a worker waiting for the store. Its 503 is no fault of the restart.
    failed = [call for call in lab.calls if call.status == 0 or call.result.error == NO_WORKER]
    lab.figure("restarts", len(took) * 2)
    lab.figure("failed", len(failed))
    lab.figure("a group renewed in", f"{max(took):.1f} s at most")
    lab.require(not failed, "failed", f"{len(failed)} calls failed: {failed[:1]}")
    rig.proxy.black_hole = True
    async with lab.load(rate=30).running():
        await asyncio.sleep(0.3)
        rig.groups[0].signal(signal.SIGTERM)
        ended = await until(lambda: not rig.groups[0].runs, EXIT_S + 2)
    lab.figure("SIGTERM while the store is silent", f"ended in {ended:.1f} s")
    lab.require(ended <= EXIT_S, "exit", f"not ended within {EXIT_S:g} s after SIGTERM")


async def _logging_in(lab: Lab, group: Serve, stopping: asyncio.Event) -> None:
    """Log in all the time, with a connection for each login: each worker has some logins in hand at any moment."""
    while not stopping.is_set():
        http = Http(group.port)
        await lab.world.login(random.choice(lab.world.users), http=http)
        http.close()


async def slowloris(lab: Lab) -> None:
    rig, world = await lab.set_up(users=12)
    before = sum(open_files(pid) for pid in rig.workers)
    calm = await _p99(lab.load(rate=60), 1.5)
    count = lab.pick(300, 2000)
    drippers = await _drippers([group.port for group in rig.groups], count)
    storm = asyncio.create_task(_dripping(drippers, HELD_S + 1))
    stormy = await _p99(lab.load(rate=60), DRIPPED_S)
    await storm
    longest = max(dripper.ended - dripper.opened for dripper in drippers)
    back = await until(lambda: sum(open_files(pid) for pid in rig.workers) <= before + 60, 30)
    await world.sweep()
    lab.figure("connections", len(drippers))
    lab.figure("longest held", f"{longest:.1f} s")
    lab.figure("introspection p99", f"{calm * 1000:.0f} ms before, {stormy * 1000:.0f} ms meanwhile")
    lab.require(len(drippers) > 0.9 * count, "setup", f"only {len(drippers)} connections were opened")
    lab.require(longest <= HELD_S, "held", f"a dripping client was borne for {longest:.1f} s")
    lab.require(back < 30, "descriptors", "the descriptors are not given back within 30 s")
    lab.require(stormy < max(P99_S, 5 * calm), "p99", f"p99 of introspection is {stormy * 1000:.0f} ms meanwhile")


async def _p99(load: Load, seconds: float) -> float:
    began = time.monotonic()
    await load.run(seconds)
    calls = [call for call in load.world.journal.calls if call.kind == "introspect" and call.sent > began]
    return percentile([call.answered - call.sent for call in calls], 99)


class _Dripper(asyncio.Protocol):
    """A client that sends a header at one byte a second, or nothing at all, until the worker ends the connection.

    It is a protocol and not a task: thousands of tasks with timers would notice the end too late.
    """

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        self.opened = time.monotonic()
        self.ended = math.inf
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def eof_received(self) -> None:
        self.ended = min(self.ended, time.monotonic())

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = min(self.ended, time.monotonic())

    def drip(self) -> None:
        if self._transport is not None and not self.silent and self.ended == math.inf:
            self._transport.write(b"P")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def _drippers(ports: Sequence[int], count: int) -> list[_Dripper]:
    """Clients that are connected to the ports in turn. A third of them send nothing."""
    loop = asyncio.get_running_loop()
    found = []
    for number in range(count):
        made = partial(_Dripper, silent=number % 3 == 0)
        with suppress(OSError):
            found.append((await loop.create_connection(made, "127.0.0.1", ports[number % len(ports)]))[1])
    return found


async def _dripping(drippers: Sequence[_Dripper], seconds: float) -> None:
    """Drip until the workers have cut off all clients, or until the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(dripper.ended == math.inf for dripper in drippers):
        for dripper in drippers:
            dripper.drip()
        await asyncio.sleep(1)
    for dripper in drippers:
        dripper.close()


ONE_EACH = Variation(settings={"AUTHSVC_MAX_CONNECTIONS": "1"})
KILLS = Patch(
    "edge/workers.py", "            self._retired.append(old)\n            old.retire()\n", "            old.kill()\n"
)
NO_CAP = Patch(
    "edge/limits.py",
    "self.max_connections = max(1, min(max_connections, descriptors - RESERVED_DESCRIPTORS))",
    "self.max_connections = 10**9 + 0 * descriptors",
)
NO_DEADLINE = Patch("edge/limits.py", "\nHEAD_S = 10\n", "\nHEAD_S = 1000\n")

EXPERIMENTS = (
    Experiment(
        "exhaustion",
        11,
        "thousands of idle connections are opened, also to a group with 256 descriptors, while the store is restarted; "
        "then the store takes only 50 connections",
        "an answer or a 503 within 3 s; no worker above 300 MiB; every call succeeds again after 2.5 s",
        exhaustion,
        [
            Control("a worker takes one connection", ("recovery", "starved"), ONE_EACH),
            # NO_DEADLINE, because a connection that ends would leave its descriptor to the store, by chance.
            Control(
                "connections are taken until there are no descriptors, and are kept",
                ("starved",),
                Variation([NO_CAP, NO_DEADLINE]),
            ),
        ],
    ),
    Experiment(
        "rolling-restart",
        13,
        "SIGHUP for each group in turn under load; then SIGTERM while the store is silent",
        "no call fails; the group ends within 10 s",
        rolling,
        [Control("the old worker is killed when the new one is ready", ("failed",), Variation([KILLS]))],
    ),
    Experiment(
        "slowloris",
        15,
        "hundreds of clients send nothing, or a byte a second",
        "each is cut off after 15 s at most; p99 of introspection stays under 500 ms or five times its value before",
        slowloris,
        [Control("a header has no time limit", ("held",), Variation([NO_DEADLINE]))],
    ),
)
