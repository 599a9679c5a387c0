"""Passwords are guessed: many at once, and by how long an answer takes."""

import asyncio
import random
import time
from statistics import median

from faults.http import Http
from faults.lab import Control, Experiment, Lab
from faults.variation import Patch, Variation

# What is heard of one account: from one address, and in all.
FROM_ONE, IN_ALL = 5, 100
DIFFERENCE_S = 0.005


async def brute_force(lab: Lab) -> None:
    rig, world = await lab.set_up(users=4)
    one, many, bystander, _ = world.users
    session = await world.login(one)
    https = [Http(group.port) for group in rig.groups]

    async def guess(number: int, username: str, address: str) -> int:
        document = {"username": username, "password": f"guess number {number} of many"}
        http = https[number % len(https)]
        answer = await http.call("POST", "/login", document=document, headers={"X-Forwarded-For": address})
        return answer.status

    answers = await asyncio.gather(*[guess(n, one.username, "198.51.100.7") for n in range(100)])
    lab.figure("heard of 100 at once from one address", answers.count(401))
    lab.require(answers.count(401) <= FROM_ONE, "heard", f"{answers.count(401)} guesses from one address were heard")
    answers = []
    for wave in range(lab.pick(4, 10)):  # a full queue of hashes hears nobody, so in waves
        numbers = range(100 * wave, 100 * wave + 100)
        addresses = [f"203.0.{number // 250}.{number % 250 + 1}" for number in numbers]
        waves = [guess(n, many.username, address) for n, address in zip(numbers, addresses, strict=True)]
        answers += await asyncio.gather(*waves)
    heard = answers.count(401)
    lab.figure(f"heard of {len(answers)} from as many", heard)
    lab.require(0 < heard <= IN_ALL, "heard", f"{heard} guesses at one account were heard")
    lab.require(set(answers) <= {401, 429, 503}, "answers", f"unexpected answers: {set(answers)}")
    lab.require(await world.login(bystander) is not None, "bystander", "another user can't log in")
    if session is not None:  # whoever is logged in does not notice
        lab.require(bool((await world.introspect(session.access)).result.active), "victim", "the victim was logged out")
        lab.require((await world.refresh(session)).status == 200, "victim", "the victim can't refresh")
    for http in https:
        http.close()


async def timing(lab: Lab) -> None:
    """How long a login takes for a wrong password, a suspended user, one without a password, and nobody."""
    settings = {"AUTHSVC_ARGON2_MEMORY_KIB": "19456", "AUTHSVC_ARGON2_TIME_COST": "2"}
    _, world = await lab.set_up(users=18, groups=1, workers=1, settings=settings)
    for user in world.users[6:12]:
        await world.suspend(user)
    bare = [f"bare{number}" for number in range(6)]
    for name in bare:
        await world.call("POST", "/admin/users", document={"username": name}, headers=world.admin)
    states = {
        "wrong password": [user.username for user in world.users[:6]],
        "suspended": [user.username for user in world.users[6:12]],
        "no password": bare,
        "nobody": [f"nobody{number}" for number in range(6)],
    }
    took: dict[str, list[float]] = {state: [] for state in states}
    bodies = set()
    for number in range(lab.pick(60, 480)):
        for state in random.sample(list(states), len(states)):
            document = {"username": states[state][number % 6], "password": "none of anybody's"}
            headers = {"X-Forwarded-For": f"192.0.{number // 250}.{number % 250 + 1}"}
            began = time.monotonic()
            answer = await world.http.call("POST", "/login", document=document, headers=headers)
            took[state].append(time.monotonic() - began)
            bodies.add((answer.status, answer.body, tuple(name for name in answer.headers)))
    medians = {state: median(values) for state, values in took.items()}
    difference = max(medians.values()) - min(medians.values())
    lab.figure("logins of each kind", lab.pick(60, 480))
    lab.figure("medians", ", ".join(f"{state} {value * 1000:.2f} ms" for state, value in medians.items()))
    lab.require(difference < DIFFERENCE_S, "timing", f"the medians are {difference * 1000:.1f} ms apart")
    lab.require(len(bodies) == 1, "answers", f"{len(bodies)} different answers")


# The usual mistake: look whether the limit is reached, check the password, and count afterwards.
CHECK_THEN_COUNT = [
    Patch(
        "flows/login.py",
        "        await deps.store.throttle.reserve(windows, deps.clock())\n",
        "        from authsvc.core.throttle import Attempts\n"
        "        from authsvc.store.records import load\n"
        "        for window, raw in zip(windows, await deps.store.throttle._read(windows)):\n"
        "            if raw is not None and load(Attempts, raw).wait_s(window.limit, deps.clock()) > 0:\n"
        "                raise TooManyAttempts(1)\n",
    ),
    Patch(
        "flows/login.py",
        "    await deps.store.throttle.settle(windows, right=accepted)\n",
        "    if not accepted:\n"
        "        with suppress(TooManyAttempts):\n"
        "            await deps.store.throttle.reserve(windows, deps.clock())\n",
    ),
]
NO_DUMMY = Patch(
    "flows/hasher.py",
    "        verdict = await",
    "        if stored is None:\n            return False\n        verdict = await",
)

EXPERIMENTS = (
    Experiment(
        "timing",
        20,
        "logins for a wrong password, a suspended user, one without a password and nobody, interleaved",
        "the medians are less than 5 ms apart, the answers are the same",
        timing,
        [Control("nothing is hashed where there is no hash", ("timing",), Variation([NO_DUMMY]))],
        long_only=True,
    ),
    Experiment(
        "brute-force",
        21,
        "hundreds of guesses at once at one account, from one address and from as many",
        "at most 5 are heard from one address and 100 in all; who is logged in does not notice",
        brute_force,
        [Control("attempts are counted after the password was checked", ("heard",), Variation(CHECK_THEN_COUNT))],
    ),
)
