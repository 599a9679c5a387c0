"""Many clients change the same session at the same time."""

import asyncio
from collections.abc import Awaitable, Callable

from chaos.journal import Call
from chaos.lab import Control, Experiment, Lab
from chaos.processes import ExperimentError
from chaos.proxy import up_to
from chaos.variation import Patch, Variation
from chaos.waiting import until_it
from chaos.world import Session, User, World

AT_ONCE = 50


async def refresh_races(lab: Lab) -> None:
    grace_s = lab.pick(3, 10)
    # The service counts the grace from the beginning of a second, so its last second is no promise.
    lab.grace_s = grace_s - 1
    _, world = await lab.set_up(users=12, settings={"AUTHSVC_REFRESH_GRACE_S": str(grace_s)})
    retries = asyncio.create_task(_lost_answers(lab, lab.pick((0.1, 1.0, 1.9, 4.0), (0.1, 5.0, 8.9, 11.0))))
    rounds = lab.pick(8, 300)
    for number in range(rounds):
        session = await _login(world, world.users[number % 6])
        presented = session.refresh
        calls = await asyncio.gather(*[world.refresh(session, presented) for _ in range(AT_ONCE)])
        pairs = {(call.result.access, call.result.refresh) for call in calls if call.status == 200}
        answered = sum(call.status == 200 for call in calls)
        lab.require(len(pairs) == 1, "pairs", f"one token was exchanged for {len(pairs)} different pairs")
        lab.require(answered == AT_ONCE, "refused", f"only {answered} of {AT_ONCE} got a pair")
    lab.figure("rounds", f"{rounds} of {AT_ONCE} at once")
    await retries
    await _old_generation(lab, world.users[11])
    await world.sweep()


async def _lost_answers(lab: Lab, delays: tuple[float, ...]) -> None:
    """An answer is lost and the client tries again after a delay. The last delay is longer than the grace."""
    world = lab.world

    async def one(user: User, delay_s: float, *, in_time: bool) -> None:
        session = await _login(world, user)
        presented, first = session.refresh, await world.refresh(session)
        await asyncio.sleep(delay_s)
        again = await world.refresh(session, presented)
        if in_time:
            lab.require(again.result.refresh == first.result.refresh, "retry", f"not the same pair after {delay_s} s")
            return
        lab.require(again.status == 400, "retry", f"a retry after {delay_s} s was answered {again.status}")
        after = await world.introspect(session.access)
        lab.require(after.result.active is False, "retry", "the session goes on after a reuse past the grace")

    users = world.users[6:]
    await asyncio.gather(*[one(user, s, in_time=s != delays[-1]) for user, s in zip(users, delays, strict=False)])


async def _old_generation(lab: Lab, user: User) -> None:
    """Present the first token after the third, within the grace. That is reuse, so the session ends."""
    world = lab.world
    session = await _login(world, user)
    oldest = session.refresh
    for _ in range(2):
        await world.refresh(session)
    call = await world.refresh(session, oldest)
    lab.require(call.status == 400, "reuse", f"a token two generations old was answered {call.status}")
    after = await world.introspect(session.access)
    lab.require(after.result.active is False, "reuse", "the session goes on after a reuse")


async def strict_races(lab: Lab) -> None:
    """Without a grace one of many clients gets the pair. The other presentations are reuse and end the session."""
    lab.grace_s = 0
    rig, world = await lab.set_up(users=12, proxied=True, settings={"AUTHSVC_REFRESH_GRACE_S": "0"})
    assert rig.proxy is not None
    rig.proxy.delay_s = 0.02  # longer than it takes to send all calls, so all read the record before the first writes
    rounds = lab.pick(8, 300)
    for number in range(rounds):
        session = await _login(world, world.users[number % 12])
        presented = session.refresh
        calls = await asyncio.gather(*[world.refresh(session, presented) for _ in range(AT_ONCE)])
        winners = [call for call in calls if call.status == 200]
        refused = [call for call in calls if call.status == 400 and call.result.error == "invalid_grant"]
        lab.require(len(winners) == 1, "winners", f"one token was exchanged {len(winners)} times")
        others = AT_ONCE - len(winners)
        lab.require(len(refused) == others, "refused", f"{len(refused)} of {others} were told invalid_grant")
        after = await world.introspect(session.access)
        lab.require(after.result.active is False, "fate", "the session goes on after a reuse")
    await world.sweep()
    lab.figure("rounds", f"{rounds} of {AT_ONCE} at once")


async def revoke_races(lab: Lab) -> None:
    """End sessions while they are refreshed and opened. Afterwards each acknowledged end must hold."""
    rig, world = await lab.set_up(users=16, proxied=True)
    assert rig.proxy is not None
    rig.proxy.delay_s = up_to(0.004)  # so that calls overlap in more than one way
    ends: list[Callable[[World, Session], Awaitable[Call]]] = [_revoke, _cut_off, _password, _suspend]
    rounds = lab.pick(40, 500)
    for number in range(rounds):
        session = await _login(world, world.users[number % len(world.users)], _address(number))
        await _race(world, session, ends[number % len(ends)], number)
        # Calls in flight may have issued new tokens. Those are inactive, or younger than the end.
        await world.sweep([session.access, session.refresh])
    await world.sweep()
    lab.figure("rounds", rounds)


async def _race(world: World, session: Session, end: Callable[[World, Session], Awaitable[Call]], number: int) -> None:
    async def later(seconds: float, call: Awaitable[object]) -> None:
        await asyncio.sleep(seconds)
        await call

    await asyncio.gather(
        *[later(at * 0.003, world.refresh(session)) for at in range(4)],
        *[later(at * 0.004, world.login(session.user, headers=_address(number), note="old")) for at in range(2)],
        later((number % 8) * 0.002, end(world, session)),
    )
    if session.user.password.endswith("next"):
        world.secrets.add(session.user.password)


def _address(number: int) -> dict[str, str]:
    """A new address in each round: logins of suspended users fail, and an address may fail twenty times."""
    return {"X-Forwarded-For": f"10.9.{number // 250}.{number % 250 + 1}"}


async def _login(world: World, user: User, headers: dict[str, str] | None = None) -> Session:
    for _ in range(20):  # on a busy machine logins may get 503 for some seconds
        session = await world.login(user, headers=headers)
        if session is not None:
            return session
        await asyncio.sleep(0.5)
    raise ExperimentError(f"{user.username} can't log in")


async def _revoke(world: World, session: Session) -> Call:
    return await world.revoke(session)


async def _cut_off(world: World, session: Session) -> Call:
    return await world.cut_off(session.user)


async def _password(world: World, session: Session) -> Call:
    new = f"{session.user.password[:24]} {len(world.journal.calls)} next"
    call = await world.change_password(session, new)
    if call.status == 200:
        session.user.password = new
    else:
        world.users.remove(session.user)  # the change may have been made, so the password is unknown
    return call


async def _suspend(world: World, session: Session) -> Call:
    call = await world.suspend(session.user)

    async def reinstated() -> bool:
        path = f"/admin/users/{session.user.sub}"
        return (await world.call("PATCH", path, document={"status": "active"}, headers=world.admin)).status == 200

    await until_it(reinstated, 10)  # the next rounds need active users
    return call


RANDOM_SUCCESSOR = [
    Patch(
        "core/rotation.py",
        "refresh_tokens.successor(rotation_seed, seed, spent)",
        "refresh_tokens.new(seed, spent.handle)",
    ),
    Patch(
        "core/rotation.py",
        '    return tokens.is_same_digest(held, f"{pair.access.digest}{pair.refresh_digest}")\n',
        "    return bool(held)\n",
    ),
]
BLIND = Patch("driver/scripts.py", "  if held ~= ARGV[3*i-2] then unchanged = false end\n", "")

EXPERIMENTS = (
    Experiment(
        "refresh-races",
        16,
        "50 clients present one refresh token at once; clients lose answers and try again, one of them too late; a "
        "client presents the first token after the third",
        "all get one pair within the grace; after it the session ends",
        refresh_races,
        [
            Control(
                "new tokens are random, not derived",
                ("Inv4", "pairs"),
                Variation(RANDOM_SUCCESSOR),
            )
        ],
    ),
    Experiment(
        "strict-races",
        16,
        "50 clients present one refresh token at once, with AUTHSVC_REFRESH_GRACE_S=0",
        "exactly one gets a pair, all others get `invalid_grant`; the session has ended, as after any reuse",
        strict_races,
        [
            Control("a grace of ten seconds", ("winners",), Variation(settings={"AUTHSVC_REFRESH_GRACE_S": "10"})),
            Control("records are read and set, not compared and swapped", ("winners", "fate"), Variation([BLIND])),
        ],
    ),
    Experiment(
        "revoke-races",
        17,
        "sessions end by revocation, cut-off, suspension and password change while they are refreshed and opened",
        "a session whose end was acknowledged is never active again",
        revoke_races,
        [Control("records are read and set, not compared and swapped", ("Inv1",), Variation([BLIND]))],
    ),
)
