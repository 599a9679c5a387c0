"""The store executes a command, its reply is lost, and the driver sends the command again."""

from collections import Counter

import msgspec

from chaos.http import Http
from chaos.lab import Control, Experiment, Lab
from chaos.variation import Patch, Variation
from chaos.world import User

# The number of wrong guesses that get a verdict, for one account and one address.
FREE = 5


async def repeated(lab: Lab) -> None:
    rig, world = await lab.set_up(proxied=True)
    proxy = rig.proxy
    assert proxy is not None
    proxy.drop_every = 10
    await _logins_once(lab)
    await lab.load(rate=100).run(lab.pick(3, 60))
    guessed = [await _guesses(lab, user) for user in world.users]
    proxy.drop_every = 0
    lab.figure("replies lost", proxy.dropped)
    lab.require(proxy.dropped > 20, "setup", f"only {proxy.dropped} replies were lost")
    await world.sweep()
    lab.figure("verdicts on guesses", f"{min(guessed)} to {max(guessed)} of {FREE}")
    lab.require(
        min(guessed) >= FREE, "counted", f"one guess counted as several: {min(guessed)} of {FREE} got a verdict"
    )


async def _logins_once(lab: Lab) -> None:
    """Log in as each user. If all logins were answered 200, the store must hold exactly so many sessions."""
    opened = {user.sub: [await lab.world.login(user) for _ in range(5)] for user in lab.world.users}
    with lab.rig.store.open() as store:
        records = store.mget(list(store.scan_iter("session:*", count=1000)))
    stored = Counter(msgspec.json.decode(record)["sub"] for record in records if isinstance(record, bytes))
    known = {sub: len(sessions) for sub, sessions in opened.items() if all(sessions)}
    twice = {sub: stored[sub] for sub, count in known.items() if stored[sub] != count}
    lab.figure("logins", f"{sum(known.values())}, {sum(twice.values()) - 5 * len(twice)} opened twice")
    lab.require(len(known) > len(opened) // 3, "setup", "too many logins failed")
    lab.require(not twice, "double", f"{len(twice)} users have another number of sessions than they opened: {twice}")


async def _guesses(lab: Lab, user: User) -> int:
    """Guess until the first 429; the number of guesses before it. A guess that got 503 may have counted, too."""
    http, heard = Http(lab.rig.groups[0].port), 0
    try:
        for _ in range(3 * FREE):
            document = {"username": user.username, "password": "none of anybody's"}
            headers = {"X-Forwarded-For": f"172.16.0.{user.username[-2:].lstrip('0') or '0'}"}
            status = (await http.call("POST", "/login", document=document, headers=headers)).status
            if status == 429:
                break
            heard += 1
    finally:
        http.close()
    return heard


TAKES_IT_FOR_ANOTHERS = Patch("driver/connection.py", "return held is None or held == value", "return held is None")
COUNTS_AGAIN = Patch(
    "driver/scripts.py", "local applied, unchanged = true, true", "local applied, unchanged = false, true"
)

EXPERIMENTS = (
    Experiment(
        "lost-replies",
        18,
        "a proxy throws away every tenth reply of the store and breaks the connection; the driver sends the command "
        "again",
        "each login, rotation, revocation and guess counts once; the service sees no reuse",
        repeated,
        [
            Control(
                "the second attempt takes the handle of the first for a foreign one",
                ("double",),
                Variation([TAKES_IT_FOR_ANOTHERS]),
            ),
            Control("a swap that was applied already is applied again", ("counted",), Variation([COUNTS_AGAIN])),
        ],
    ),
)
