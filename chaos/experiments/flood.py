"""More passwords to hash than the cores can hash."""

import asyncio
import itertools
import math
import time

from argon2 import PasswordHasher

from chaos.http import Http
from chaos.lab import Control, Experiment, Lab
from chaos.processes import rss_mib
from chaos.statistics import percentile
from chaos.variation import Patch, Variation
from chaos.waiting import until_it

ATTACKERS = 100
# A hash takes at least so long on any machine. On the event loops of four workers, the hashes of all attackers hold up
# other calls for more than P99_S.
HASH_S = 0.03
MEMORY_KIB = 19456
# On busy cores. A worker that hashes on its event loop takes longer than that for its queue.
P99_S = 0.5
LOGIN_S = 5.0
RSS_MIB = 250.0


async def hash_flood(lab: Lab) -> None:
    settings = {"AUTHSVC_ARGON2_MEMORY_KIB": f"{MEMORY_KIB}", "AUTHSVC_ARGON2_TIME_COST": f"{_time_cost()}"}
    rig, world = await lab.set_up(users=4, settings=settings)
    session = await world.login(world.users[0])
    if session is None:
        lab.require(False, "setup", "nobody could log in")
        return
    calm = await _asked(lab, session.access, lab.pick(1, 5))
    stopping = asyncio.Event()
    numbers = itertools.count()
    flood = [asyncio.create_task(_attack(rig.groups[n % 2].port, numbers, stopping)) for n in range(ATTACKERS)]
    await asyncio.sleep(0.3)
    stormy, took = await asyncio.gather(_asked(lab, session.access, lab.pick(4, 30)), _legitimate(lab))
    biggest = max(rss_mib(pid) for pid in rig.workers)
    stopping.set()
    answers = list(itertools.chain.from_iterable(await asyncio.gather(*flood)))
    long = {"username": "user0001", "password": "x" * 1_000_000}
    refused = await Http(rig.groups[0].port).call("POST", "/login", document=long)
    lab.figure("guesses", f"{len(answers)}, {answers.count(503)} of them refused")
    lab.figure("introspection p99", f"{calm * 1000:.0f} ms before, {stormy * 1000:.0f} ms in the flood")
    lab.figure("a login of a user", f"{took:.1f} s")
    lab.figure("largest worker", f"{biggest:.0f} MiB")
    lab.require(stormy < max(P99_S, 5 * calm), "p99", f"p99 of introspection is {stormy * 1000:.0f} ms in the flood")
    lab.require(took < LOGIN_S, "login", f"the login of a user takes {took:.1f} s")
    lab.require(biggest < RSS_MIB, "memory", f"a worker has {biggest:.0f} MiB")
    lab.require(set(answers) <= {401, 429, 503}, "answers", f"unexpected answers: {set(answers)}")
    lab.require(refused.status in (400, 413), "long", f"a password of 1 MB was answered {refused.status}")


def _time_cost() -> int:
    """The number of passes with which a hash takes HASH_S on this machine; at least the default, which is 2."""
    began = time.monotonic()
    PasswordHasher(time_cost=2, memory_cost=MEMORY_KIB, parallelism=1).hash("a walk by the river")
    return max(2, math.ceil(2 * HASH_S / (time.monotonic() - began)))


async def _asked(lab: Lab, token: str, seconds: float) -> float:
    """The p99 of about fifty introspections a second."""
    took: list[float] = []

    async def ask(until: float) -> None:
        while time.monotonic() < until:
            call = await lab.world.introspect(token)
            took.append(call.answered - call.sent)
            await asyncio.sleep(0.1)

    await asyncio.gather(*[ask(time.monotonic() + seconds) for _ in range(5)])
    return percentile(took, 99)


async def _attack(port: int, numbers: "itertools.count[int]", stopping: asyncio.Event) -> list[int]:
    """Guess at accounts that don't exist. Each guess has its own account and address."""
    http, answers = Http(port), []
    while not stopping.is_set():
        number = next(numbers)
        document = {"username": f"flood{number}", "password": "none of anybody's"}
        headers = {"X-Forwarded-For": f"100.64.{number // 250 % 250}.{number % 250 + 1}"}
        answers.append((await http.call("POST", "/login", document=document, headers=headers)).status)
        if answers[-1] != 401:
            await asyncio.sleep(0.2)
    http.close()
    return answers


async def _legitimate(lab: Lab) -> float:
    """How long a user needs to log in who tries again and again."""

    async def logged_in() -> bool:
        return await lab.world.login(lab.world.users[1]) is not None

    return await until_it(logged_in, 2 * LOGIN_S)


ON_THE_LOOP = Patch(
    "hashing/hasher.py",
    "verdict = await self._pool.run(lambda: self._verify(stored or self._dummy, password))",
    "verdict = self._verify(stored or self._dummy, password)",
)

EXPERIMENTS = (
    Experiment(
        "hash-flood",
        14,
        "a hundred clients log in all the time, with argon2id that takes at least 30 ms; then one password of 1 MB",
        "p99 of introspection stays under 500 ms or five times its value before; a user logs in within 5 s; no worker "
        "above 250 MiB",
        hash_flood,
        [Control("passwords are hashed on the event loop", ("p99",), Variation([ON_THE_LOOP]))],
    ),
)
