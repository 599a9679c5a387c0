"""More passwords to hash than there is time for."""

import asyncio
import itertools
import time

from chaos.http import Http
from chaos.lab import Control, Experiment, Lab
from chaos.processes import rss_mib
from chaos.statistics import percentile
from chaos.variation import Patch, Variation
from chaos.waiting import until_it

ATTACKERS = 100
# On cores that are all busy; on the event loop a worker's queue of hashes would take seconds.
P99_S = 0.5
LOGIN_S = 5.0
RSS_MIB = 250.0


async def hash_flood(lab: Lab) -> None:
    settings = {"AUTHSVC_ARGON2_MEMORY_KIB": "19456", "AUTHSVC_ARGON2_TIME_COST": "2"}
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
    lab.figure("an honest login", f"{took:.1f} s")
    lab.figure("largest worker", f"{biggest:.0f} MiB")
    lab.require(stormy < max(P99_S, 5 * calm), "p99", f"p99 of introspection is {stormy * 1000:.0f} ms in the flood")
    lab.require(took < LOGIN_S, "login", f"an honest login takes {took:.1f} s")
    lab.require(biggest < RSS_MIB, "memory", f"a worker has {biggest:.0f} MiB")
    lab.require(set(answers) <= {401, 429, 503}, "answers", f"unexpected answers: {set(answers)}")
    lab.require(refused.status in (400, 413), "long", f"a password of 1 MB was answered {refused.status}")


async def _asked(lab: Lab, token: str, seconds: float) -> float:
    """p99 of introspection meanwhile, some fifty a second."""
    took: list[float] = []

    async def ask(until: float) -> None:
        while time.monotonic() < until:
            call = await lab.world.introspect(token)
            took.append(call.answered - call.sent)
            await asyncio.sleep(0.1)

    await asyncio.gather(*[ask(time.monotonic() + seconds) for _ in range(5)])
    return percentile(took, 99)


async def _attack(port: int, numbers: "itertools.count[int]", stopping: asyncio.Event) -> list[int]:
    """Guess at accounts that don't exist, each time another one from another address."""
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
    """How long somebody needs who tries again and again."""

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
        "a hundred clients log in all the time with argon2id at its default cost, and one password of 1 MB",
        "p99 of introspection stays under 500 ms, or five times what it was; an honest login takes less than 5 s, no "
        "worker above 250 MiB",
        hash_flood,
        [Control("passwords are hashed on the event loop", ("p99",), Variation([ON_THE_LOOP]))],
    ),
)
