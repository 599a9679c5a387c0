"""Locks of an account: who can bring one about, whom it stops, and what it tells a stranger."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis

from authsvc.core.known_networks import MEMORY_S, MOST
from authsvc.flows import users
from authsvc.flows.attempts import place_of
from authsvc.flows.deps import OPERATOR, Caller
from authsvc.flows.password import new_reset_code, reset_password
from authsvc.settings import Settings
from tests.conftest import CHEAP, PASSWORD, Clock, Service
from tests.flows.conftest import World
from tests.flows.contents import Commands
from tests.flows.test_throttling import WRONG, guess
from tests.selection import one_in, slow

HOME, ELSEWHERE = "192.0.2.1", "203.0.113.9"


@pytest.fixture
def settings() -> Settings:
    """The tests' own HTTP client is a trusted proxy, so that a test can choose addresses."""
    return Settings(**CHEAP | {"trusted_proxies": "192.0.2.1"})


async def lock(world: World) -> None:
    """A hundred guesses from a hundred sources."""
    for n in range(100):
        assert await guess(world, ip=f"10.{n}.0.1") is None
    assert await guess(world, ip=ELSEWHERE) == 60


ONE_56 = [f"2001:db8:1:{n:x}::1" for n in range(64)]
ONE_48 = [f"2001:db8:1:{n * 0x101:x}::1" for n in range(64)]
ONE_24 = [f"198.51.100.{n}" for n in range(64)]


@pytest.mark.parametrize(
    "source", [ONE_56, slow(ONE_48), slow(ONE_24)], ids=["an IPv6 /56", "an IPv6 /48", "an IPv4 /24"]
)
async def test_one_source_locks_no_account(world: World, source: list[str]) -> None:
    """Of all guesses from one source twenty are checked. The owner logs in from a network that is not known yet."""
    await world.user()
    answers = [await guess(world, ip=ip) for ip in source for _ in range(5)]
    assert answers.count(None) == 20
    assert (await guess(world, ip=ELSEWHERE, password=PASSWORD)).access_token


async def test_parallel_guesses_from_one_source_are_counted_exactly(world: World) -> None:
    """Many networks of one source at once get no further than the source's limit."""
    await world.user()
    answers: list[Any] = []
    for start in range(0, len(ONE_56), 8):
        answers += await asyncio.gather(*(guess(world, ip=ip) for ip in ONE_56[start : start + 8]))
    assert answers.count(None) == 20


async def test_an_owner_passes_the_lock_from_a_known_network(world: World) -> None:
    """A lock that strangers brought about stops nobody in a network where the account was used before."""
    await world.user()
    assert (await guess(world, ip=HOME, password=PASSWORD)).access_token
    await lock(world)
    assert (await guess(world, ip=HOME, password=PASSWORD)).access_token
    assert await guess(world, ip=ELSEWHERE, password=PASSWORD) == 60


async def test_a_full_source_does_not_stop_a_known_network_in_it(world: World) -> None:
    """A neighbour of the owner, in the same /48, cannot lock the owner out."""
    await world.user()
    assert (await guess(world, ip="2001:db8:1:ffff::1", password=PASSWORD)).access_token
    for ip in ONE_48:
        await guess(world, ip=ip)
    assert (await guess(world, ip="2001:db8:1:ffff::2", password=PASSWORD)).access_token


async def test_a_known_network_has_limits_of_its_own(world: World, clock: Clock) -> None:
    """Guesses from a known network wait like others, end at a hundred in a row, and lock nobody elsewhere."""
    await world.user()
    assert (await guess(world, ip=HOME, password=PASSWORD)).access_token
    for _ in range(100):
        assert await guess(world, ip=HOME) is None
        clock.forward(61)
    for pause in (300, 1500, 7500):
        assert await guess(world, ip=HOME) is None
        assert await guess(world, ip=HOME, password=PASSWORD) == pause
        clock.forward(pause)
    await world.deps.store.throttle.clear([])
    assert (await guess(world, ip=ELSEWHERE, password=PASSWORD)).access_token


async def test_the_last_eight_networks_pass_the_lock(world: World, clock: Clock) -> None:
    """Nine logins from nine networks make the first network unknown again."""
    await world.user()
    homes = [f"192.0.{n}.1" for n in range(MOST + 1)]
    for home in homes:
        assert (await guess(world, ip=home, password=PASSWORD)).access_token
        clock.forward(1)
    await lock(world)
    assert await guess(world, ip=homes[0], password=PASSWORD) == 60
    for home in homes[1:]:
        assert (await guess(world, ip=home, password=PASSWORD)).access_token


@pytest.mark.slow
async def test_parallel_logins_make_all_their_networks_known(world: World) -> None:
    """Logins at once from several networks lose none of them."""
    await world.user()
    homes = [f"192.0.{n}.1" for n in range(MOST)]
    await asyncio.gather(*(guess(world, ip=home, password=PASSWORD) for home in homes))
    await lock(world)
    for home in homes:
        assert (await guess(world, ip=home, password=PASSWORD)).access_token


async def test_a_known_network_is_forgotten_after_90_days(world: World, clock: Clock, valkey: "redis.Redis") -> None:
    """A network is known for 90 days after the last login there. Its key expires with it."""
    await world.user()
    assert (await guess(world, ip=HOME, password=PASSWORD)).access_token
    assert valkey.pexpiretime(place_of("ada", HOME).key) == (int(clock()) + MEMORY_S) * 1000
    clock.forward(MEMORY_S)
    await lock(world)
    assert await guess(world, ip=HOME, password=PASSWORD) == 60


async def test_a_login_from_a_known_network_writes_no_network(world: World, commands: Commands) -> None:
    """The first login in a network writes the network. The next login there does not."""
    await world.user()
    counts = []
    for _ in range(3):
        commands.reset()
        await guess(world, ip=HOME, password=PASSWORD)
        counts.append(commands.seen())
    assert counts[1] == counts[2]
    # Known: three windows, each reserved and settled. Unknown: a window more, and the network. And the indexes of
    # sessions.
    assert (counts[0]["eval"], counts[1]["eval"]) == (9 + 1, 6 + 1)


async def test_a_wrong_password_makes_no_network_known(world: World) -> None:
    """Only a right password of an active user makes a network known."""
    user = await world.user()
    assert await guess(world, ip=HOME) is None
    await users.update(world.deps, OPERATOR, user.sub, status="suspended")
    assert await guess(world, ip=HOME, password=PASSWORD) is None
    await users.update(world.deps, OPERATOR, user.sub, status="active")
    for n in range(98):
        assert await guess(world, ip=f"10.{n}.0.1") is None
    await guess(world, ip="10.99.0.1"), await guess(world, ip="10.98.0.1")
    assert await guess(world, ip=HOME, password=PASSWORD) == 60


@pytest.mark.slow
async def test_a_reset_makes_the_network_known(world: World) -> None:
    """After a reset the user can log in where the reset happened. The lock elsewhere does not tell of the reset."""
    user = await world.user()
    await lock(world)
    code, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
    await reset_password(world.deps, Caller(ip=HOME), code, "seven quiet herons wading")
    assert await guess(world, ip=ELSEWHERE) == 60
    assert (await guess(world, ip=HOME, password="seven quiet herons wading")).access_token


@pytest.mark.parametrize("ends", ["delete", "rename"])
async def test_a_name_that_is_given_up_has_no_known_network(world: World, valkey: "redis.Redis", ends: str) -> None:
    """The networks of a deleted or renamed user are not those of the next user of the name."""
    user = await world.user()
    await guess(world, ip=HOME, password=PASSWORD)
    assert valkey.exists(place_of("ada", HOME).key)
    if ends == "delete":
        await users.delete(world.deps, OPERATOR, user.sub)
    else:
        await users.update(world.deps, OPERATOR, user.sub, username="augusta")
    assert not valkey.exists(place_of("ada", HOME).key)


KINDS = ("active", "suspended", "passwordless", "unknown", "impossible\u200b")


async def make(service: Service, kind: str) -> None:
    """Make an account of this kind, with its kind as its name."""
    if kind in ("active", "suspended"):
        user = await service.user(kind)
        if kind == "suspended":
            await users.update(service.deps, OPERATOR, user.sub, status="suspended")
    elif kind == "passwordless":
        await users.create(service.deps, OPERATOR, username=kind)


@dataclass
class Stranger:
    """Somebody who watches an account. `seen`: everything in the answers that could tell one account from another."""

    service: Service
    username: str
    seen: list[Any] = field(default_factory=list)

    async def tries(self, ip: str, password: str = WRONG) -> None:
        body = {"username": self.username, "password": password}
        answer = await self.service.http.post("/login", json=body, headers={"X-Forwarded-For": ip})
        headers = sorted(pair for pair in answer.headers.items() if pair[0] not in ("x-request-id", "date"))
        self.seen.append((answer.status_code, headers, answer.text))

    @property
    def waits_s(self) -> int:
        return int(dict(self.seen[-1][1]).get("retry-after", 0))


async def watch(service: Service, clock: Clock, kind: str) -> list[Any]:
    """What a stranger sees who locks an account, while the owner of an active account logs in now and then."""
    await make(service, kind)
    stranger = Stranger(service, kind)

    async def owner_logs_in(ip: str) -> None:
        if kind == "active":
            body = {"username": kind, "password": PASSWORD}
            answer = await service.http.post("/login", json=body, headers={"X-Forwarded-For": ip})
            assert answer.status_code == 200

    await owner_logs_in("198.18.0.1")
    for n in range(30):  # one source
        await stranger.tries(f"198.51.100.{n % 3}")
        await owner_logs_in("198.51.100.200")  # a neighbour
    for n in range(90):
        await stranger.tries(f"10.{n}.0.1")
    await owner_logs_in("198.18.0.1")
    for n in range(3):  # at the locked account, and after each lock
        await stranger.tries(f"10.200.{n}.1")
        await owner_logs_in("198.18.0.1")
        await stranger.tries(f"10.201.{n}.1", "another wrong password")
        clock.forward(stranger.waits_s)
        await stranger.tries(f"10.202.{n}.1")
    return stranger.seen


@pytest.mark.parametrize("kind", one_in(4, KINDS[1:]))
async def test_a_lock_tells_nobody_whether_an_account_is_active(service: Service, clock: Clock, kind: str) -> None:
    """A stranger sees one sequence of answers for active, suspended, passwordless, unknown and impossible names.

    The owner of the active account logs in meanwhile, also next to the stranger.
    """
    first = await watch(service, clock, "active")
    assert {status for status, _, _ in first} == {401, 429}
    clock.forward(3 * 86400)  # the addresses have all their guesses again
    assert await watch(service, clock, kind) == first


@pytest.mark.slow
async def test_the_right_password_of_a_suspended_user_is_a_wrong_one(service: Service, clock: Clock) -> None:
    """Whoever has the password of a suspended user sees the same as with a wrong one, and as for an unknown name."""
    sequences = []
    for kind, password in (("suspended", PASSWORD), ("unknown", PASSWORD), ("passwordless", WRONG)):
        await make(service, kind)
        stranger = Stranger(service, kind)
        for ip in [*("192.0.2.8",) * 7, *ONE_56, *(f"10.{n}.0.1" for n in range(90))]:
            await stranger.tries(ip, password)
        sequences.append(stranger.seen)
        clock.forward(3 * 86400)
    assert sequences[1:] == sequences[:1] * 2
