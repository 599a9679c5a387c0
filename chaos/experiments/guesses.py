"""Passwords are guessed, many at once."""

import asyncio

from chaos.http import Http
from chaos.lab import Control, Experiment, Lab
from chaos.variation import Patch, Variation

# How many guesses at one account get a verdict: those of one address, and all together.
FROM_ONE, IN_ALL = 5, 100


async def brute_force(lab: Lab) -> None:
    rig, world = await lab.set_up(users=4, proxied=True)
    assert rig.proxy is not None
    one, many, bystander, _ = world.users
    session = await world.login(one)
    https = [Http(group.port) for group in rig.groups]

    async def guess(number: int, username: str, address: str) -> int:
        document = {"username": username, "password": f"guess number {number} of many"}
        http = https[number % len(https)]
        answer = await http.call("POST", "/login", document=document, headers={"X-Forwarded-For": address})
        return answer.status

    rig.proxy.delay_s = 0.02  # longer than it takes to send all guesses: no verdict comes before the last guess
    answers = await asyncio.gather(*[guess(n, one.username, "198.51.100.7") for n in range(100)])
    rig.proxy.delay_s = 0.0
    lab.figure("verdicts on 100 at once from one address", answers.count(401))
    lab.require(answers.count(401) <= FROM_ONE, "heard", f"{answers.count(401)} guesses from one address got a verdict")
    answers = []
    for wave in range(lab.pick(4, 10)):  # in waves: a full queue of hashes answers 503 without a verdict
        numbers = range(100 * wave, 100 * wave + 100)
        addresses = [f"203.{number // 250}.{number % 250}.9" for number in numbers]  # each in a network of its own
        waves = [guess(n, many.username, address) for n, address in zip(numbers, addresses, strict=True)]
        answers += await asyncio.gather(*waves)
    heard = answers.count(401)
    lab.figure(f"verdicts on {len(answers)} from as many", heard)
    lab.require(0 < heard <= IN_ALL, "heard", f"{heard} guesses at one account got a verdict")
    lab.require(set(answers) <= {401, 429, 503}, "answers", f"unexpected answers: {set(answers)}")
    lab.require(await world.login(bystander) is not None, "bystander", "another user can't log in")
    if session is not None:  # the attack does not touch a user who is logged in
        lab.require(bool((await world.introspect(session.access)).result.active), "victim", "the victim was logged out")
        lab.require((await world.refresh(session)).status == 200, "victim", "the victim can't refresh")
    for http in https:
        http.close()


# The usual mistake: compare the count with the limit, check the password, and count the attempt afterwards.
CHECK_THEN_COUNT = [
    Patch(
        "flows/login.py",
        "        attempt = await deps.store.throttle.reserve(windows, deps.clock(), place)\n",
        "        from authsvc.core.throttle import Attempts\n"
        "        from authsvc.store.throttle import Reservation\n"
        "        from authsvc.store.encoding import load\n"
        "        for window, raw in (await deps.store.throttle._read(windows)).items():\n"
        "            if raw is not None and load(Attempts, raw).wait_s(window.limit, deps.clock()) > 0:\n"
        "                raise TooManyAttempts(1)\n"
        "        attempt = Reservation(deps.clock())\n",
    ),
    Patch(
        "flows/login.py",
        "    await deps.store.throttle.settle(attempt, right=right)\n",
        "    if not verdict.right:\n"
        "        with suppress(TooManyAttempts):\n"
        "            await deps.store.throttle.reserve(windows, deps.clock(), place)\n",
    ),
]
EXPERIMENTS = (
    Experiment(
        "brute-force",
        21,
        "hundreds of guesses at once at one account, from one address and from as many",
        "at most 5 get a verdict from one address and 100 in all; a user who is logged in stays so",
        brute_force,
        [Control("attempts are counted after the password was checked", ("heard",), Variation(CHECK_THEN_COUNT))],
    ),
)
