"""Workers and the store die while logins wait for their second step."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from chaos.experiments.replicas import LOCAL, OUTAGE_S, REPLICA, entered
from chaos.http import Answer, Http, NoAnswer
from chaos.lab import Control, Experiment, Lab
from chaos.people import Person, answer, settings_of, with_app
from chaos.processes import free_port
from chaos.proxy import Proxy
from chaos.rig import until_ready
from chaos.variation import Patch, Variation
from chaos.waiting import until, until_it
from tests.topologies import REPLICATION, Replicated, ServerProcess, replicated

# How often one code is presented again after a fault.
AGAIN = 3


@dataclass
class Ledger:
    """The results of all codes. counted: how often each code logged in. tokens: of each login, by its user.

    doubtful: codes whose first use got no answer, or a 503.
    """

    counted: Counter[str] = field(default_factory=Counter)
    tokens: dict[str, list[str]] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)

    async def use(self, http: Http, person: Person, auth_session: str, code: str) -> Answer | None:
        """Answer a login with a recovery code. None if there was no answer."""
        try:
            found = await answer(http, person.user, "recovery", auth_session, code)
        except NoAnswer:
            found = None
        if found is None or found.status == 503:
            self.doubtful.add(code)
        elif found.status == 200:
            self.counted[code] += 1
            self.tokens.setdefault(person.user.sub, []).append(found.json()["access_token"])
        return found

    async def use_again(self, http: Http, people: Iterable[Person], code: int) -> None:
        """Present a code of each person in new logins."""
        for person in people:
            for _ in range(AGAIN):
                await self.use(http, person, await person.begin(http), person.recovery_codes[code])


async def steps(lab: Lab) -> None:
    store = await entered(lab, replicated(lab.directory / "nodes", "appendonly yes", replicas=1))
    proxy = await lab.stack.enter_async_context(Proxy(free_port(), store.primary().port))
    settings = {**REPLICA, **settings_of(lab.directory), "AUTHSVC_LIMIT_PER_FACTOR": "100"}
    url = f"redis://127.0.0.1:{proxy.port}"
    rig, world = await lab.set_up(users=lab.pick(9, 30), store_url=url, settings=settings)
    http, people, ledger = rig.http, [await with_app(rig.http, user) for user in world.users], Ledger()
    third = len(people) // 3
    await _workers_die(lab, ledger, people[:third])
    await _store_dies(lab, store, ledger, people[third : 2 * third])
    await _cut_off_between(lab, ledger, people[:third])
    await _replica_takes_over(lab, store, proxy, ledger, people[third:])
    twice = [code for code, times in ledger.counted.items() if times > 1]
    lab.figure("codes", len(ledger.counted.keys() | ledger.doubtful))
    lab.figure("counted", ledger.counted.total())
    lab.figure("of doubtful use", len(ledger.doubtful))
    lab.require(not twice, "twice", f"{len(twice)} codes counted more than once")
    lab.require(bool(ledger.doubtful), "setup", "no fault fell between two steps, so nothing was shown")
    await _nothing_older(lab, http, ledger)


async def _workers_die(lab: Lab, ledger: Ledger, people: list[Person]) -> None:
    """kill -9 of every worker of a group while it looks at second steps. Another group gets the same codes."""
    dying, living = [Http(group.port) for group in lab.rig.groups]
    begun = [await person.begin(living) for person in people]
    uses = [
        asyncio.create_task(ledger.use(dying, person, session, person.recovery_codes[0]))
        for person, session in zip(people, begun, strict=True)
    ]
    await asyncio.sleep(0.005)
    victims = lab.rig.groups[0].workers
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    await asyncio.gather(*uses)
    for person, session in zip(people, begun, strict=True):
        await ledger.use(living, person, session, person.recovery_codes[0])
    await ledger.use_again(living, people, 0)
    back = await until(lambda: not set(victims) & set(lab.rig.groups[0].workers), OUTAGE_S)
    lab.require(back < OUTAGE_S, "respawn", "nobody has replaced the dead workers")
    await until_ready(lab.rig.groups[0])
    dying.close()
    living.close()


async def _store_dies(lab: Lab, store: Replicated, ledger: Ledger, people: list[Person]) -> None:
    """kill -9 of the store between the first and the second step. It is started again on its data."""
    http, node = lab.rig.http, store.primary()
    begun = [await person.begin(http) for person in people]
    await asyncio.to_thread(node.kill)
    during = [
        await ledger.use(http, person, session, person.recovery_codes[0])
        for person, session in zip(people, begun, strict=True)
    ]
    told = {None if one is None else one.status for one in during}
    lab.require(told == {503}, "outage", f"second steps without a store were answered {told}")
    await asyncio.to_thread(node.start)
    await _whole(lab, store)
    for person, session in zip(people, begun, strict=True):
        await ledger.use(http, person, session, person.recovery_codes[0])
    lost = [person for person in people if not ledger.counted[person.recovery_codes[0]]]
    lab.require(not lost, "failed", f"{len(lost)} logins did not go on when the store was back")
    await ledger.use_again(http, people, 0)


async def _cut_off_between(lab: Lab, ledger: Ledger, people: list[Person]) -> None:
    """Each user is cut off between the two steps."""
    for person in people:
        begun = await person.begin(lab.rig.http)
        cut_off = await lab.world.cut_off(person.user)
        if cut_off.status == 200:
            ledger.tokens.pop(person.user.sub, None)
            found = await ledger.use(lab.rig.http, person, begun, person.recovery_codes[1])
            older = None if found is None else found.json().get("access_token")
            lab.require(older is None, "older", "a login went on after its user was cut off")


async def _replica_takes_over(lab: Lab, store: Replicated, proxy: Proxy, ledger: Ledger, people: list[Person]) -> None:
    """Replication is cut off between the steps. Codes are used and users cut off then, and the primary is killed."""
    http, old = lab.rig.http, store.primary()
    used, cut = people[: len(people) // 2], people[len(people) // 2 :]
    before = [await person.begin(http) for person in used]
    for person, session in zip(used, before, strict=True):  # the replica has these uses
        await ledger.use(http, person, session, person.recovery_codes[2])
    begun = {person.user.sub: await person.begin(http) for person in people}
    await asyncio.to_thread(store.freeze_replication)
    for person in used:
        await ledger.use(http, person, begun[person.user.sub], person.recovery_codes[3])
    ended = [person for person in cut if (await lab.world.cut_off(person.user)).status == 200]
    await asyncio.to_thread(old.kill)
    promoted = await asyncio.to_thread(_promoted, store, old)
    proxy.upstream = promoted.port
    proxy.reset()
    await _whole(lab, store)
    await ledger.use_again(http, used, 2)
    await ledger.use_again(http, used, 3)
    for person in cut:
        found = await ledger.use(http, person, begun[person.user.sub], person.recovery_codes[3])
        if person in ended and found is not None and found.status == 200:
            lab.require(False, "older", "a login went on in the replica, though its user had been cut off")
    lab.figure("used while frozen", f"{len(used)}, cut off {len(cut)}, acknowledged {len(ended)}")


def _promoted(store: Replicated, old: ServerProcess) -> ServerProcess:
    """Promote the replica, and make the old primary follow it."""
    chosen = store.fail_over()
    chosen.call("ACL", "SETUSER", REPLICATION, "on")
    old.start().call("REPLICAOF", "127.0.0.1", chosen.port)
    return chosen


async def _whole(lab: Lab, store: Replicated) -> None:
    """Wait until the replica has all data and logins work again."""

    async def works() -> bool:
        follows = await asyncio.to_thread(lambda: all(replica.follows() for replica in store.replicas()))
        ready = await lab.rig.http.call("GET", "/readyz")
        return follows and ready.status == 200

    back = await until_it(works, OUTAGE_S)
    lab.require(back < OUTAGE_S, "outage", "the store is back, and logins do not work")


async def _nothing_older(lab: Lab, http: Http, ledger: Ledger) -> None:
    """Cut every user off at the end: no token of any login is active afterwards."""
    for user in lab.world.users:
        await lab.world.cut_off(user)
    tokens = [token for one in ledger.tokens.values() for token in one]
    told = await http.call("POST", "/introspect/batch", document={"tokens": tokens}, headers=lab.world.admin)
    active = sum(item.get("active", True) for item in told.json()["items"])
    lab.require(not active, "older", f"{active} tokens are active after their users were cut off")


# The usual mistakes: a login in progress does not look at cut-offs, and its session begins with those of its last step.
LAST_EPOCHS = [
    Patch("flows/steps.py", "        or Epochs.of(account.user, client, service) != step.epochs\n", ""),
    Patch(
        "flows/steps.py",
        "asked, epochs=step.epochs, amr=amr)",
        "asked, epochs=Epochs.of(account.user, client, service), amr=amr)",
    ),
]

EXPERIMENTS = (
    Experiment(
        "steps",
        27,
        "logins wait for their second step; meanwhile the workers, then the store get kill -9, users are cut off, and "
        "at last a replica takes over that misses the latest changes (AUTHSVC_DURABILITY=replica)",
        "each code logs in once or never; no login goes on after its user was cut off",
        steps,
        [
            Control("AUTHSVC_DURABILITY=local", ("twice", "older"), LOCAL),
            Control("a login has the cut-offs of its last step", ("older",), Variation(LAST_EPOCHS)),
        ],
    ),
)
