"""The time of an answer must not reveal which users exist, or which part of a token is right."""

import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median
from typing import TypeVar

from authsvc.core.token import Kind, new
from chaos.http import Answer, Http
from chaos.lab import Control, Experiment, Lab
from chaos.people import log_in, settings_of, with_app
from chaos.processes import ExperimentError
from chaos.variation import Patch, Variation

T = TypeVar("T")

EACH = 6
LOGINS_S = 0.005
TOKENS_S = 0.0001


async def timing(lab: Lab) -> None:
    settings = {
        "AUTHSVC_ARGON2_MEMORY_KIB": "19456",
        "AUTHSVC_ARGON2_TIME_COST": "2",
        "AUTHSVC_REFRESH_GRACE_S": "0",
    }
    settings |= settings_of(lab.directory)
    rig, _ = await lab.set_up(users=3 * EACH, groups=1, workers=1, settings=settings)
    http = Http(rig.groups[0].port)  # without nginx, whose own time would hide the differences
    await _tokens(lab, http)
    await _logins(lab, http)
    http.close()


async def _logins(lab: Lab, http: Http) -> None:
    """Log in with a wrong password, also of a user with a second factor, and as users who can't log in or do not exist.

    Then log in with the right password of a user with a second factor, which has to take longer: it begins a login.
    """
    world = lab.world
    right, suspended, careful = world.users[:EACH], world.users[EACH : 2 * EACH], world.users[2 * EACH :]
    for user in suspended:
        await world.suspend(user)
    for user in careful:
        await with_app(http, user)
    bare = [f"bare{number}" for number in range(EACH)]
    for name in bare:
        await world.call("POST", "/admin/users", document={"username": name}, headers=world.admin)
    states = {
        "wrong password": [user.username for user in right],
        "wrong password beside a second factor": [user.username for user in careful],
        "suspended": [user.username for user in suspended],
        "no password": bare,
        "nobody": [f"nobody{number}" for number in range(EACH)],
    }

    async def login(number: int, username: str) -> Answer:
        document = {"username": username, "password": "none of anybody's"}
        headers = {"X-Forwarded-For": f"192.0.{number // 250}.{number % 250 + 1}"}
        return await http.call("POST", "/login", document=document, headers=headers)

    await _compare(lab, "logins", states, login, lab.pick(60, 480), LOGINS_S)
    took = []
    for number in range(lab.pick(60, 480)):
        began = time.monotonic()
        answer = await log_in(http, careful[number % EACH])
        took.append(time.monotonic() - began)
        lab.require(answer.status == 403, "answers", f"a right password was answered {answer.status}")
    lab.figure("median of a right password beside a second factor", f"{median(took) * 1000:.3f} ms")


async def _tokens(lab: Lab, http: Http) -> None:
    """Introspect tokens with a wrong secret, replaced tokens, revoked tokens and invented tokens."""
    world = lab.world
    sessions = [session for user in world.users if (session := await world.login(user))]
    if len(sessions) < 3 * EACH:
        raise ExperimentError("some users could not log in")
    alive, refreshed, revoked = sessions[:EACH], sessions[EACH : 2 * EACH], sessions[2 * EACH :]
    replaced = [session.access for session in refreshed]
    for session in refreshed:
        await world.refresh(session)
    for session in revoked:
        await world.revoke(session)
    states = {
        "another secret": [new(Kind.ACCESS, session.handle).text for session in alive],
        "replaced": replaced,
        "revoked": [session.access for session in revoked],
        "invented": [new(Kind.ACCESS).text for _ in range(EACH)],
    }

    async def introspect(_: int, token: str) -> Answer:
        return await http.call("POST", "/introspect", form={"token": token}, headers=world.admin)

    await _compare(lab, "introspections", states, introspect, lab.pick(3000, 20_000), TOKENS_S)


async def _compare(
    lab: Lab,
    what: str,
    states: Mapping[str, Sequence[T]],
    ask: Callable[[int, T], Awaitable[Answer]],
    rounds: int,
    apart_s: float,
) -> None:
    """Ask about each kind in random order; compare the answers and the median times."""
    took: dict[str, list[float]] = {state: [] for state in states}
    answers = set()
    for number in range(rounds):
        for state in random.sample(list(states), len(states)):
            began = time.monotonic()
            answer = await ask(number, states[state][number % EACH])
            took[state].append(time.monotonic() - began)
            answers.add((answer.status, answer.body, tuple(answer.headers)))
    medians = {state: median(values) for state, values in took.items()}
    difference = max(medians.values()) - min(medians.values())
    lab.figure(f"{what} of each kind", rounds)
    lab.figure(f"medians of {what}", ", ".join(f"{state} {value * 1000:.3f} ms" for state, value in medians.items()))
    lab.require(difference < apart_s, what, f"the medians of {what} are {difference * 1000:.3f} ms apart")
    lab.require(len(answers) == 1, "answers", f"{len(answers)} different answers to {what}")


NO_DUMMY = Patch(
    "hashing/hasher.py",
    "        verdict = await self._pool",
    "        if stored is None:\n            return False\n        verdict = await self._pool",
)

# A slow hash is for passwords. For tokens its time reveals whether there was a record to compare with.
SLOW_DIGEST = [
    Patch("core/token.py", "from hashlib import sha256\n", "from hashlib import pbkdf2_hmac\n"),
    Patch("core/token.py", "sha256(text.encode()).digest()", 'pbkdf2_hmac("sha256", text.encode(), b"", 5000)'),
]

EXPERIMENTS = (
    Experiment(
        "timing",
        20,
        "logins with a wrong password, with and without a second factor, of a suspended user, of a user without a "
        "password and of an unknown user take turns; so do introspections of tokens with a wrong secret, of replaced, "
        "revoked and invented tokens",
        "the medians of logins are less than 5 ms apart, and those of introspections 0.1 ms; the answers are the same",
        timing,
        [
            Control("no password is hashed for a user without a hash", ("logins",), Variation([NO_DUMMY])),
            Control("tokens are stored as slow hashes", ("introspections",), Variation(SLOW_DIGEST)),
        ],
        long_only=True,
    ),
)
