"""Every call of the API, with the connection to the store broken at each of its commands."""

import re
from collections.abc import Callable

import pytest
import redis

from authsvc.api.routes import ROUTES
from authsvc.core.event_limit import EventLimit
from authsvc.driver.timeouts import Timeouts
from tests.conftest import PATIENT
from tests.outages.proxy import Fault, Plan, Proxy
from tests.outages.world import BY_NAME, CALLS, World, difference, events_of, restore, save, state_of
from tests.selection import slow

WITHOUT_STORE = {"GET /.well-known/oauth-authorization-server", "GET /", "GET /healthz", "GET /openapi.yaml"}

# The fault at command n, and the fault at all later commands. None: the retry of the driver works.
PLANS: list[tuple[Fault, Fault | None]] = [
    (Fault.CUT, None),
    (Fault.CUT, Fault.CUT),
    (Fault.LOST, None),
    (Fault.LOST, Fault.CUT),
    (Fault.LOST, Fault.LOST),
]
# The plans for the command with this number. `make test` takes a third of the calls, and one plan for each command.
Choice = Callable[[int], list[tuple[Fault, Fault | None]]]


def by_turns(at: int) -> list[tuple[Fault, Fault | None]]:
    return [PLANS[(2 * at) % len(PLANS)]]


def every_plan(_: int) -> list[tuple[Fault, Fault | None]]:
    return PLANS


@pytest.fixture
def timeouts() -> Timeouts:
    """Faults break connections here and nothing hangs, so the store may be late on a busy machine."""
    return PATIENT


def test_every_route_that_uses_the_store_is_here() -> None:
    """Every route is among the calls."""
    assert {call.route for call in CALLS} | WITHOUT_STORE == {f"{route.method} {route.path}" for route in ROUTES}


@pytest.mark.parametrize(
    ("name", "plans"),
    [*((name, by_turns) for name in list(BY_NAME)[::40]), *(slow(name, every_plan) for name in BY_NAME)],
)
async def test_broken_at_every_command(
    world: World, proxy: Proxy, valkey: "redis.Redis", name: str, plans: Choice
) -> None:
    """The answer is the usual one, or 503 with Retry-After. The state afterwards is wholly old or wholly new."""
    call = BY_NAME[name]
    world.clock.forward(call.later_s)
    snapshot, old, noted = save(valkey), state_of(valkey), events_of(valkey)
    proxy.arm()
    answer = await call.make(world)
    assert answer.status_code == call.usual, answer.text
    length = len(proxy.commands)
    await world.deps.store.sessions.finish()
    new, events = difference(old, state_of(valkey)), events_of(valkey)[len(noted) :]
    assert not (call.reads and new) or call.later_s, "noting that a session is used is all that a read may write"
    first = [line for line in new if not re.match(call.second, line)]
    failed = 0
    for at in range(1, length + 1):
        for fault, then in plans(at):
            restore(valkey, snapshot)
            world.deps.store.audit.limit = EventLimit()  # or so many logins of one user would be left out
            proxy.arm(Plan(fault, at, then))
            broken = await call.make(world)
            await world.deps.store.sessions.finish()
            hit = f"{fault.name}, then {then and then.name}, at {at} of {proxy.commands}: {broken.text}"
            proxy.arm()
            happened = difference(old, state_of(valkey))
            assert happened in ([], new, first), hit
            if broken.status_code == 503:
                failed += 1
                assert broken.headers["Retry-After"] == "1", hit
                assert broken.json()["error"] == "temporarily_unavailable", hit
                assert then is not None, f"the retry should have got through: {hit}"
                continue
            assert broken.status_code == call.usual, hit
            assert happened == new, f"answered, and not done: {hit}"
            if then is None:
                # An event may be written twice, if the reply to the first write got lost, but never not at all.
                assert set(events_of(valkey)[len(noted) :]) == set(events), hit
    # The last commands of some calls write the audit trail, and their failure is no 503.
    assert failed >= length // 2 or plans is by_turns, "a store that has gone is noticed"
