"""Rate limits for passwords and secrets: their numbers, and whom they affect."""

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import httpx
import pytest
import redis

from authsvc.api.routes import ROUTES
from authsvc.core import throttle
from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.errors import InvalidCredentials, InvalidGrant, Overloaded, TooManyAttempts, WrongPassword
from authsvc.flows import users
from authsvc.flows.deps import OPERATOR, Caller
from authsvc.flows.password import change_password, new_reset_code, reset_password
from authsvc.hashing import pool
from authsvc.hashing.pool import QUEUE_PER_THREAD, HashThreads
from authsvc.settings import Settings
from authsvc.store import keys
from authsvc.store.throttle import Window
from tests.conftest import CHEAP, PASSWORD, Clock, Service, use_idle_scheduling
from tests.flows.conftest import HERE, Hashes, World
from tests.flows.contents import Commands
from tests.selection import one_in, slow

WRONG = "a walk by the sea shore"
OTHER_PASSWORD = "seven quiet herons wading"


async def guess(world: World, username: str = "ada", password: str = WRONG, ip: str | None = "192.0.2.1") -> Any:
    """One login. Returns the seconds to wait if it was throttled, None if it was wrong, and else the grant."""
    try:
        return await world.login(username, password, caller=Caller(ip=ip))
    except InvalidCredentials:
        return None
    except TooManyAttempts as error:
        return error.retry_after_s


@pytest.mark.parametrize("username", ["ada", "nobody", "b\u200bad name"])
async def test_five_guesses_at_an_account_then_each_waits_longer(world: World, clock: Clock, username: str) -> None:
    """From one address five guesses are checked at once, then one after 1, 2, 4 … 60 s; also for unknown names."""
    await world.user()
    assert [await guess(world, username) for _ in range(5)] == [None] * 5
    for wait in (1, 2, 4, 8, 16, 32, 60, 60):
        assert await guess(world, username) == wait
        assert await guess(world, username, PASSWORD) == wait, "the right password must not show through"
        clock.forward(wait - 0.5)
        assert await guess(world, username) == 1
        clock.forward(0.5)
        assert await guess(world, username) is None
        clock.forward(300 - wait)  # what was counted of the address is forgotten, what was of the account is not
        clock.now -= 300 - wait
        await world.deps.store.throttle.clear([Window(throttle.PER_ADDRESS, "192.0.2.1")])


async def test_a_throttled_attempt_does_not_prolong_the_wait(world: World, clock: Clock) -> None:
    """A throttled attempt does not prolong the wait. The lock ends by itself."""
    await world.user()
    for _ in range(5):
        await guess(world)
    for _ in range(50):
        assert await guess(world) == 1
    clock.forward(1)
    assert (await guess(world, password=PASSWORD)).access_token


async def test_success_clears_the_account(world: World) -> None:
    """After the right password there are five guesses again."""
    await world.user()
    for _ in range(3):
        assert [await guess(world) for _ in range(4)] == [None] * 4
        assert (await guess(world, password=PASSWORD)).access_token


async def test_another_address_is_not_kept_waiting(world: World) -> None:
    """Guesses from one address do not lock the owner out at another."""
    await world.user()
    for _ in range(6):
        await guess(world, ip="198.51.100.9")
    assert (await guess(world, password=PASSWORD)).access_token


async def test_a_variant_of_the_name_is_the_same_account(world: World) -> None:
    """Another form of the name gives no further guesses."""
    await world.user()
    for name in ("ada", "ADA", "Ada", "aDa", "\uff21da"):
        await guess(world, name)
    assert await guess(world, "adA") == 1


async def test_an_account_allows_a_hundred_guesses_in_a_row(world: World, clock: Clock) -> None:
    """After a hundred wrong guesses from unknown networks the account is locked there. Sessions go on."""
    await world.user()
    session = await world.login()
    assert [await guess(world, ip=f"10.0.{n}.1") for n in range(100)] == [None] * 100
    wait = await guess(world, password=PASSWORD, ip="10.1.0.1")
    assert wait == 60
    assert await world.alive(session)
    session = await world.refresh(session.refresh_token)
    assert await guess(world, password=PASSWORD, ip="10.1.0.1") == wait, "a refresh must not open it"
    clock.forward(wait)
    assert (await guess(world, password=PASSWORD, ip="10.1.0.1")).access_token


async def lock(world: World, username: str = "ada") -> None:
    for n in range(100):
        await guess(world, username, ip=f"10.0.{n}.1")
    assert await guess(world, username, PASSWORD, ip="10.1.0.1") == 60


@pytest.mark.parametrize("username", ["ada", slow("Ada")])
async def test_a_reset_opens_a_locked_account(world: World, username: str) -> None:
    """After a reset the user can log in with the new password at once."""
    user = await world.user(username)
    await lock(world)
    code, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
    await reset_password(world.deps, HERE, code, OTHER_PASSWORD)
    assert (await guess(world, password=OTHER_PASSWORD)).access_token


async def test_an_admin_opens_a_locked_account(world: World) -> None:
    """Setting the status to active clears the wrong guesses."""
    user = await world.user("Ada")
    await lock(world)
    await users.update(world.deps, OPERATOR, user.sub, status="active")
    assert (await guess(world, password=PASSWORD)).access_token


async def test_an_address_allows_twenty_guesses_in_five_minutes(world: World, clock: Clock) -> None:
    """An address has twenty guesses for all accounts together. Other addresses are independent."""
    await world.user()
    assert [await guess(world, f"user{n}") for n in range(20)] == [None] * 20
    assert await guess(world, password=PASSWORD) == 300
    assert (await guess(world, password=PASSWORD, ip="192.0.2.2")).access_token
    clock.forward(300)
    assert (await guess(world, password=PASSWORD)).access_token


async def test_logins_that_succeed_do_not_count_against_an_address(world: World) -> None:
    """Many people can log in from one address. A success gives no further guesses."""
    await world.user()
    for _ in range(30):
        assert (await guess(world, password=PASSWORD)).access_token
    for n in range(19):
        await guess(world, f"user{n}")
    assert (await guess(world, password=PASSWORD)).access_token
    assert await guess(world, "user20") is None
    assert await guess(world, "user21") == 300


@pytest.mark.slow
async def test_an_ipv6_network_allows_two_hundred_guesses(world: World) -> None:
    """The addresses of a /64 count as one. Those of a /48 share 200 guesses."""
    await world.user()
    assert [await guess(world, f"a{n}", ip=f"2001:db8:1:1::{n:x}") for n in range(20)] == [None] * 20
    assert await guess(world, "a", ip="2001:db8:1:1:ffff::1") == 300
    for net in range(2, 11):
        for n in range(20):
            assert await guess(world, f"{net}u{n}", ip=f"2001:db8:1:{net:x}::{n:x}") is None
    assert await guess(world, password=PASSWORD, ip="2001:db8:1:ffff::1") == 300
    assert (await guess(world, password=PASSWORD, ip="2001:db8:2::1")).access_token


async def test_the_answer_is_a_429_that_says_when(service: Service) -> None:
    """The answer is 429 with Retry-After, the same for an unknown name."""
    await service.user()
    answers = []
    for name in ("ada", "nobody"):
        for _ in range(6):
            answer = await service.http.post("/login", json={"username": name, "password": WRONG})
        answers.append((answer.status_code, answer.headers["retry-after"], answer.content))
    assert answers[0] == answers[1]
    assert answers[0][:2] == (429, "1")


async def test_a_hundred_parallel_guesses_get_no_further_than_five(world: World, hashes: Hashes) -> None:
    """The attempt is counted before the hash, so at most five of a hundred reach argon2."""
    await world.user()
    outcomes = await asyncio.gather(*(guess(world) for _ in range(100)))
    assert hashes.verified <= 5
    assert outcomes.count(None) == hashes.verified
    assert await guess(world, password=PASSWORD) == 1


async def test_parallel_guesses_do_not_disturb_a_login_elsewhere(world: World, hashes: Hashes) -> None:
    """During an attack the owner can log in from another address."""
    await world.user()
    guesses = asyncio.gather(*(guess(world, ip="198.51.100.9") for _ in range(100)))
    assert (await guess(world, password=PASSWORD)).access_token
    await guesses
    assert hashes.verified <= 6


@pytest.mark.slow
@pytest.mark.parametrize("times", range(3))
async def test_thirty_parallel_valid_logins_all_succeed(world: World, times: int) -> None:
    """Logins wait for pending attempts. So all apps of one user can start at the same moment."""
    await world.user()
    grants = await asyncio.gather(*(world.login() for _ in range(30)))
    assert len({grant.session_id for grant in grants}) == 30
    assert all(await asyncio.gather(*(world.alive(grant) for grant in grants)))


async def test_a_wrong_current_password_counts_like_a_login(world: World) -> None:
    """Password changes count for the limits too. Being throttled does not end the session."""
    await world.user()
    session = await world.login()
    me = await world.me(session)
    for _ in range(5):
        with pytest.raises(WrongPassword):
            await change_password(world.deps, HERE, me, WRONG, OTHER_PASSWORD)
    with pytest.raises(TooManyAttempts):
        await change_password(world.deps, HERE, me, PASSWORD, OTHER_PASSWORD)
    assert await guess(world, password=PASSWORD) == 1
    assert await world.alive(session)


async def test_invented_reset_codes_count_against_an_address(world: World) -> None:
    """An address has twenty invented reset codes. A valid code works from another address."""
    user = await world.user()
    code, _ = await new_reset_code(world.deps, OPERATOR, user.sub)
    for _ in range(20):
        with pytest.raises(InvalidGrant):
            await reset_password(world.deps, HERE, tokens.new(Kind.RESET).text, OTHER_PASSWORD)
    with pytest.raises(TooManyAttempts):
        await reset_password(world.deps, HERE, code, OTHER_PASSWORD)
    await reset_password(world.deps, Caller(ip="192.0.2.2"), code, OTHER_PASSWORD)


class TestOverload:
    """More passwords come than can be checked."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP | {"hash_threads": 1})

    @pytest.fixture
    async def gate(self, world: World, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
        """Holds up every hash until it is set."""
        gate, really = threading.Event(), world.deps.hasher._argon2

        class Held:
            def verify(self, stored: str, password: str) -> bool:
                assert gate.wait(10)
                return really.verify(stored, password)

            def hash(self, password: str) -> str:
                return really.hash(password)

            def check_needs_rehash(self, stored: str) -> bool:
                return really.check_needs_rehash(stored)

        monkeypatch.setattr(world.deps.hasher, "_argon2", Held())
        return gate

    async def fill(self, world: World) -> list["asyncio.Task[Any]"]:
        room = 1 + QUEUE_PER_THREAD
        tasks = [asyncio.create_task(guess(world, f"u{n}", ip=f"10.9.{n}.1")) for n in range(room)]
        while world.deps.hasher._pool._free:  # noqa: ASYNC110 - the hasher tells nobody that it is full
            await asyncio.sleep(0)
        return tasks

    async def test_a_full_queue_is_told_at_once(
        self, world: World, service: Service, gate: threading.Event, commands: Commands
    ) -> None:
        """A full queue is answered with 503 and Retry-After, without a store call. The service goes on."""
        await world.user()
        tasks = await self.fill(world)
        commands.reset()
        answer = await service.http.post("/login", json={"username": "ada", "password": PASSWORD})
        assert commands.seen() == {}
        assert answer.status_code == 503
        assert answer.json()["error"] == "temporarily_unavailable"
        assert int(answer.headers["retry-after"]) >= 1
        gate.set()
        assert await asyncio.gather(*tasks) == [None] * len(tasks)
        assert await world.alive(await world.login())

    async def test_what_was_not_checked_is_not_counted(self, world: World, gate: threading.Event) -> None:
        """Attempts at a full queue do not count for the account or the address."""
        await world.user()
        tasks = await self.fill(world)
        for _ in range(30):
            with pytest.raises(Overloaded):
                await world.login()
        gate.set()
        await asyncio.gather(*tasks)
        assert await world.alive(await world.login())

    async def test_a_full_queue_forgets_no_wrong_guesses(self, world: World, gate: threading.Event) -> None:
        """Filling the queue does not clear wrong guesses."""
        await world.user()
        gate.set()
        for _ in range(4):
            assert await guess(world) is None
        gate.clear()
        tasks = await self.fill(world)
        for _ in range(3):
            with pytest.raises(Overloaded):
                await world.login()
        gate.set()
        await asyncio.gather(*tasks)
        assert await guess(world) is None
        assert await guess(world) == 1

    async def test_the_room_comes_back_when_callers_go_away(self, world: World, gate: threading.Event) -> None:
        """The hash of a cancelled request keeps its place until it is done, and then frees it."""
        await world.user()
        tasks = await self.fill(world)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        gate.set()
        while world.deps.hasher._pool._free < 1 + QUEUE_PER_THREAD:  # noqa: ASYNC110 - nor that it is empty
            await asyncio.sleep(0.001)
        assert await world.alive(await world.login())

    async def test_a_hash_that_gets_no_time_is_computed_elsewhere(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On a busy machine a login takes longer and still succeeds."""
        await world.user()
        monkeypatch.setattr(pool, "LATE_S", 0.05)
        starved = threading.Event()
        world.deps.hasher._pool._threads._idle.submit(partial(starved.wait, 10))
        async with asyncio.timeout(60):
            assert await world.alive(await world.login())
        starved.set()

    @pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")
    async def test_hashing_makes_way(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Hashing yields to the event loop at once."""
        monkeypatch.setattr(pool, "_use_idle_scheduling", use_idle_scheduling)
        threads = HashThreads(1, world.deps.metrics, late_s=10)
        policy = await threads.run(lambda: os.sched_getscheduler(threading.get_native_id()), lambda: None)
        assert policy == os.SCHED_IDLE
        assert os.sched_getscheduler(0) == os.SCHED_OTHER


async def test_a_refused_attempt_leaves_no_trace_in_other_windows(world: World, valkey: "redis.Redis") -> None:
    """An attempt that one window refuses counts in no other window."""
    await world.user()
    for _ in range(5):
        await guess(world)
    before = {key: valkey.get(key) for key in valkey.keys("throttle:*")}
    for _ in range(5):
        assert await guess(world) == 1
    assert {key: valkey.get(key) for key in valkey.keys("throttle:*")} == before


async def test_what_the_store_could_not_tell_is_not_counted(service: Service, valkey: "redis.Redis") -> None:
    """A 503 is no wrong guess: after an outage all users of an address can log in."""
    ada, grace = await service.user(), await service.user("grace")
    code, _ = await new_reset_code(service.deps, OPERATOR, grace.sub)
    reset = {"reset_code": code, "new_password": OTHER_PASSWORD}
    record, code_key = valkey.get(keys.user(ada.sub)), keys.code(code[4 : 4 + tokens.HANDLE_LENGTH])
    code_record = valkey.get(code_key)
    assert isinstance(record, bytes)
    assert isinstance(code_record, bytes)
    valkey.set(keys.user(ada.sub), "not a record")
    valkey.set(code_key, "not a record")
    for _ in range(25):
        answer = await service.http.post("/login", json={"username": "ada", "password": PASSWORD})
        assert answer.status_code == 503
        assert (await service.http.post("/password/reset", json=reset)).status_code == 503
    assert (await service.login("grace"))["access_token"]
    valkey.set(keys.user(ada.sub), record)
    valkey.set(code_key, code_record)
    assert (await service.login())["access_token"]
    assert (await service.http.post("/password/reset", json=reset)).status_code == 204


async def test_a_throttle_that_cannot_be_read_lets_nobody_in(service: Service, valkey: "redis.Redis") -> None:
    """A damaged throttle record gives 503. Repairing the record is enough."""
    await service.user()
    key = Window(throttle.PER_ACCOUNT, "ada").key
    valkey.set(key, "not a record")
    for password in (PASSWORD, WRONG):
        answer = await service.http.post("/login", json={"username": "ada", "password": password})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
    valkey.delete(key)
    assert (await service.login())["access_token"]


Attempt = Callable[[Service, tuple[str, str]], Awaitable[httpx.Response]]


def post(path: str, **options: Any) -> Attempt:
    """A call that authenticates the client by HTTP Basic."""
    return lambda service, auth: service.http.post(path, auth=auth, **options)


def post_form(path: str, **fields: str) -> Attempt:
    """A call that authenticates the client by its form."""

    def attempt(service: Service, auth: tuple[str, str]) -> Awaitable[httpx.Response]:
        return service.http.post(path, data={"client_id": auth[0], "client_secret": auth[1], **fields})

    return attempt


ATTEMPTS: dict[str, Attempt] = {
    "introspect": post("/introspect", data={"token": "x"}),
    "introspect, the general way": post("/introspect", data={"token": "x", "token_type_hint": "refresh_token"}),
    "introspect, in the form": post_form("/introspect", token="x"),
    "a batch": post("/introspect/batch", json={"tokens": ["x"]}),
    "revoke": post("/revoke", data={"token": "x"}),
    "revoke, in the form": post_form("/revoke", token="x"),
    "refresh": post("/token", data={"grant_type": "refresh_token", "refresh_token": "x"}),
    "refresh, in the form": post_form("/token", grant_type="refresh_token", refresh_token="x"),
    "issue": post("/tokens", json={"sub": "someone"}),
    "log in": post("/login", json={"username": "nobody", "password": WRONG}),
    "administer": post("/admin/users", json={"username": "eve"}),
    "make a reset code": post("/admin/users/x/reset-code"),
    # HEAD, which ends by itself.
    "listen": lambda service, auth: service.http.head("/events", auth=auth),
}


@pytest.mark.parametrize("name", one_in(3, ATTEMPTS))
async def test_wrong_secrets_are_throttled_on_every_endpoint(service: Service, name: str) -> None:
    """A client has ten wrong secrets on all endpoints together, then 429. The right secret works."""
    attempt, (client_id, secret), wrong = ATTEMPTS[name], service.admin, tokens.new(Kind.SECRET).text
    for _ in range(10):
        assert (await attempt(service, (client_id, wrong))).status_code == 401
    for other in (name, "introspect", "revoke", "refresh"):
        answer = await ATTEMPTS[other](service, (client_id, wrong))
        assert answer.status_code == 429, other
        assert int(answer.headers["retry-after"]) >= 1
    assert (await attempt(service, (client_id, secret))).status_code not in (429, 503)
    assert (await service.introspect("x")) == {"active": False}


def test_every_call_that_takes_a_secret_is_tried() -> None:
    """The test has each route for clients; those of /admin authenticate in one place."""
    tried = {"/introspect", "/introspect/batch", "/revoke", "/token", "/tokens", "/events"}
    assert {route.path for route in ROUTES if "client" in route.who} == tried
