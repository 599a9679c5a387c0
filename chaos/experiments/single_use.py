"""Many clients use one secret of a login with several steps at the same moment."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from chaos.experiments.races import BLIND
from chaos.experiments.slow import NO_TIMEOUTS
from chaos.http import Answer, Http
from chaos.lab import Control, Experiment, Lab
from chaos.people import PATIENT_S, Person, answer, answer_by_passkey, settings_of, with_app, with_passkey
from chaos.variation import Patch, Variation
from tests.authenticators import Authenticator

# The largest limit that the settings take. The service looks at no more uses of one user's codes at a time.
LOOKED_AT = 100
SETTINGS = {
    "AUTHSVC_LIMIT_PER_FACTOR": f"{LOOKED_AT}",
    "AUTHSVC_LIMIT_PER_PAIR": f"{LOOKED_AT}",
    "AUTHSVC_LIMIT_PER_SOURCE": f"{LOOKED_AT}",
    "AUTHSVC_UNLIMITED_NETWORKS": "10.0.0.0/8 127.0.0.0/8",
}
# A use is refused because the secret is wrong by now, because its login is over, or because too many come at once.
REFUSED = {400, 401, 429, 503}


async def single_use(lab: Lab) -> None:
    """In each round all use one code, then one recovery code, one answer of a passkey, and one login in progress.

    The short form delays the replies of the store, so that all uses read the record before the first one writes it.
    """
    # The uses compete for one record on purpose. With the time limits of a request, a slow machine answers 503.
    lab.variation = replace(lab.variation, patches=[*PATIENT, *lab.variation.patches])
    rounds, at_once = lab.pick(2, 200), lab.pick(30, LOOKED_AT)
    options = {"groups": 3, "workers": 1, "proxied": not lab.long}
    rig, world = await lab.set_up(users=3 * rounds + 1, **options, settings=SETTINGS | settings_of(lab.directory))
    https = [Http(group.port) for group in rig.groups]
    device, users = await with_passkey(https[0], world.users[0]), world.users[1:]
    tallies: dict[str, Tally] = {}
    for number in range(rounds):
        # A user for each: wrong uses count as guesses, and the next ones would have to wait.
        people = [await with_app(https[0], user) for user in users[3 * number : 3 * number + 3]]
        for what, use in (await _uses(https, people, device, at_once)).items():
            if rig.proxy is not None:
                rig.proxy.delay_s = 0.005
            tallies.setdefault(what, Tally(at_once)).add(await asyncio.gather(*map(use, range(at_once))))
            lab.figure(f"one {what}", tallies[what])
            if rig.proxy is not None:
                rig.proxy.delay_s = 0.0
    for what, tally in tallies.items():
        lab.require(max(tally.successes) <= 1, "twice", f"one {what} counted {max(tally.successes)} times")
        lab.require(min(tally.successes) >= 1, "failed", f"one {what} never counted: {tally}")
        unknown = set(tally.statuses) - REFUSED - {200}
        lab.require(not unknown, "answers", f"uses of one {what} were answered {unknown}")
    for http in https:
        http.close()


PATIENT = [*NO_TIMEOUTS, Patch("driver/timeouts.py", "    attempt_s: float = 1.2\n", "    attempt_s: float = 30.0\n")]


class Tally:
    """The results of all rounds of one kind. successes: how many uses of each round logged in."""

    def __init__(self, at_once: int) -> None:
        self.at_once, self.successes, self.statuses = at_once, list[int](), Counter[int]()

    def add(self, answers: Sequence[Answer]) -> None:
        self.successes.append(sum(one.status == 200 for one in answers))
        self.statuses.update(one.status for one in answers)

    def __str__(self) -> str:
        told = ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items()))
        return f"{len(self.successes)} rounds of {self.at_once}, successes {sum(self.successes)} ({told})"


Use = Callable[[int], Awaitable[Answer]]


async def _uses(https: Sequence[Http], people: list[Person], device: Authenticator, at_once: int) -> dict[str, Use]:
    """Ways to use one secret of each kind. A number chooses the worker. A code is used in many logins."""
    first, second, third = people
    code, paper = await first.app.next_code(), second.recovery_codes[0]
    by_code, by_paper = [await person.begin_many(https, at_once // 2) for person in (first, second)]
    (one_login,) = await third.begin_many(https, 1)
    body = await answer_by_passkey(https[0], device)

    def use_code(number: int) -> Awaitable[Answer]:
        return answer(https[number % 3], first.user, "totp", by_code[number % len(by_code)], code)

    def use_paper(number: int) -> Awaitable[Answer]:
        return answer(https[number % 3], second.user, "recovery", by_paper[number % len(by_paper)], paper)

    def use_passkey(number: int) -> Awaitable[Answer]:
        return https[number % 3].call("POST", "/login/passkey", document=body, timeout_s=PATIENT_S)

    def use_login(number: int) -> Awaitable[Answer]:
        right = third.recovery_codes[number % len(third.recovery_codes)]
        return answer(https[number % 3], third.user, "recovery", one_login, right)

    return {"one-time code": use_code, "recovery code": use_paper, "passkey": use_passkey, "login": use_login}


_INJECTED = (
    "three workers get one one-time code, one recovery code, one answer of a passkey, or right answers to one login, "
    "a hundred times at the same moment, which is the largest limit for the guesses at one user's codes"
)

EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        "single-use",
        26,
        _INJECTED,
        "exactly one use in each round logs in",
        single_use,
        [Control("records are read and set, not compared and swapped", ("twice",), Variation([BLIND]))],
    ),
)
