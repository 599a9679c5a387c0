"""Races on the real store: many calls at once, and every interleaving of two."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from authsvc.core.client import Client
from authsvc.errors import AuthError, InvalidCredentials, InvalidGrant, InvalidToken
from authsvc.flows import issue, revoke, sessions, users
from authsvc.flows.deps import OPERATOR, Caller, Deps
from authsvc.flows.grants import Grant
from authsvc.flows.password import change_password, new_reset_code, reset_password
from authsvc.settings import Settings
from tests.conftest import CHEAP, PASSWORD, Clock
from tests.flows.conftest import HERE, World
from tests.flows.rounds import Rounds
from tests.selection import one_in, slow

NEW = "seven quiet herons wading"
PRESENTERS = 50
# Rounds at random moments. They add to the tests below that go through all interleavings of two acts one by one.
ROUNDS = 40


async def present(workers: list[World], token: str | None) -> list[Any]:
    return await asyncio.gather(
        *(workers[n % len(workers)].refresh(token) for n in range(PRESENTERS)), return_exceptions=True
    )


async def test_fifty_presenters_of_one_token_get_one_pair(
    workers: list[World], caplog: pytest.LogCaptureFixture
) -> None:
    """In each round all presenters get the same pair, and the session stays alive."""
    caplog.set_level(logging.INFO, "authsvc.audit")
    world = workers[0]
    await world.user()
    current = await world.login()
    for _ in range(ROUNDS):
        answers = await present(workers, current.refresh_token)
        pairs = {(answer.access_token, answer.refresh_token) for answer in answers}
        assert len(pairs) == 1
        current = answers[0]
        assert await world.alive(current)
    assert caplog.messages.count("token.refreshed") == ROUNDS


class TestStrict:
    """With a grace of 0."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(**CHEAP | {"refresh_grace_s": 0})

    @pytest.mark.slow
    async def test_exactly_one_of_fifty_presenters_wins(self, workers: list[World]) -> None:
        """All others get invalid_grant. As that is reuse, the session ends with the tokens of the winner."""
        world = workers[0]
        user = await world.user()
        for _ in range(ROUNDS):
            grant = await world.login()
            answers = await present(workers, grant.refresh_token)
            won = [answer for answer in answers if isinstance(answer, Grant)]
            assert len(won) == 1
            assert sum(isinstance(answer, InvalidGrant) for answer in answers) == PRESENTERS - 1
            assert not await world.alive(won[0])
        reused = {event.session_id for event in await world.events() if event.event == "token.reused"}
        assert len(reused) == ROUNDS, "each of them is in the trail"
        assert await sessions.list_active(world.deps, user.sub) == []


class Case:
    """A user with a session, and another session from which some acts are made."""

    def __init__(self, worker: World, other: World, round_: int) -> None:
        self.worker, self.other, self.round = worker, other, round_
        self.password, self.next_password = PASSWORD, NEW
        self.name = f"user{round_}"
        self.victim: Grant
        self.actor: Grant
        self.sub = ""
        self.client: Client = worker.app

    def caller(self, n: int = 0) -> Caller:
        return Caller(ip=f"10.{self.round // 250}.{self.round % 250}.{n}")

    async def prepare(self) -> None:
        """Make a new user with two sessions."""
        self.sub = (await self.worker.user(self.name)).sub
        await self.begin()

    async def begin(self) -> None:
        self.victim, self.actor = await self.login(1), await self.login(2)

    def another(self, worker: World, other: World) -> "Case":
        """The same user in the next round, on other workers."""
        case = Case(worker, other, self.round + 1)
        case.name, case.sub = self.name, self.sub
        case.password, case.next_password = self.password, self.next_password
        return case

    def login(self, n: int = 0) -> Awaitable[Grant]:
        """Log in with the password that is current when this is awaited."""
        return self.worker.login(self.name, self.password, caller=self.caller(n))

    def changed(self) -> None:
        self.password, self.next_password = self.next_password, self.password


async def revoke_token(case: Case) -> None:
    await revoke.revoke_token(case.other.deps, OPERATOR, None, case.victim.access_token)


async def revoke_user(case: Case) -> None:
    await revoke.revoke_user(case.other.deps, OPERATOR, case.sub)


async def revoke_client(case: Case) -> None:
    await revoke.revoke_client(case.other.deps, OPERATOR, case.client.client_id)


async def revoke_all(case: Case) -> None:
    await revoke.revoke_all(case.other.deps, OPERATOR)


async def suspend(case: Case) -> None:
    await users.update(case.other.deps, OPERATOR, case.sub, status="suspended")


async def delete(case: Case) -> None:
    await users.delete(case.other.deps, OPERATOR, case.sub)


async def end_all(case: Case) -> None:
    await sessions.end_all(case.other.deps, HERE, await case.other.me(case.actor))


async def end_others(case: Case) -> None:
    await sessions.end_others(case.other.deps, HERE, await case.other.me(case.actor))


async def new_password(case: Case) -> None:
    me = await case.other.me(case.actor)
    case.actor = await change_password(case.other.deps, case.caller(9), me, case.password, case.next_password)
    case.changed()


async def reset(case: Case) -> None:
    code, _ = await new_reset_code(case.other.deps, OPERATOR, case.sub)
    await reset_password(case.other.deps, case.caller(9), code, case.next_password)
    case.changed()


Act = Callable[[Case], Awaitable[None]]
ACTS: dict[str, Act] = {
    "revoke the user": revoke_user,
    "revoke the client": revoke_client,
    "revoke everything": revoke_all,
    "suspend": suspend,
    "delete": delete,
    "log out everywhere": end_all,
    "end the others": end_others,
    "change the password": new_password,
    "reset the password": reset,
}
# After these no login with what was known before can succeed at all, however late it looks.
FINAL = {"suspend", "delete", "change the password", "reset the password"}
SPARING = {"end the others", "change the password"}


async def settled(work: "Awaitable[Grant]") -> Grant | AuthError:
    try:
        return await work
    except (InvalidCredentials, InvalidGrant, InvalidToken) as error:
        return error


async def late(work: "Awaitable[Grant]", turns: int) -> Grant | AuthError:
    """Begin after this number of turns of the event loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
    return await settled(work)


async def cut_off(case: Case, grant: Grant) -> bool:
    """Whether an epoch of this session has been raised since it began, or the record is gone."""
    found = await case.worker.deps.store.lookup.session(grant.session_id)
    if found is None or found.user is None or found.client is None:
        return True
    now = (found.user.epoch, found.client.epoch, found.service.epoch)
    return tuple(found.session.epochs) != now


async def check_nothing_older_is_active(
    case: Case, what: str, login: Grant | AuthError, refreshes: list[Grant | AuthError]
) -> int:
    """Check that an act ended everything older: the session of the victim, refreshes of it, and logins that had looked
    before. Returns how many grants the act overtook.
    """
    overtaken = 0
    for refreshed in refreshes:
        if isinstance(refreshed, Grant):
            overtaken += 1
            assert not await case.worker.alive(refreshed)
    if isinstance(login, Grant):
        dead = what in FINAL or await cut_off(case, login)
        overtaken += dead
        assert await case.worker.alive(login) is not dead
    if what in SPARING:
        assert await case.worker.alive(case.actor)
    if what == "suspend":
        await users.update(case.other.deps, OPERATOR, case.sub, status="active")
        for grant in (case.victim, login, *refreshes):
            assert not isinstance(grant, Grant) or not await case.worker.alive(grant), "reinstating revives none"
    for grant in (case.victim, *refreshes):
        if isinstance(grant, Grant):
            assert isinstance(await settled(case.worker.refresh(grant.refresh_token)), InvalidGrant)
    return overtaken


@pytest.mark.parametrize("least", [ROUNDS // 4, slow(ROUNDS)])
@pytest.mark.parametrize("what", one_in(3, ACTS))
async def test_acts_against_logins_and_refreshes_in_flight(
    workers: list[World], clock: Clock, what: str, least: int
) -> None:
    """After the answer nothing older is active: no session, no refresh in flight, no login that had looked before."""
    rng = random.Random(what)
    rounds = Rounds(least, enough=least // 20 + 1)
    for round_ in rounds:
        clock.forward(1)
        pair = workers[round_ % 3], workers[(round_ + 1) % 3]
        if round_ % 10 == 0 or what == "delete":
            case = Case(*pair, round_)
            await case.prepare()
        else:
            case = case.another(*pair)
            await case.begin()
        in_flight = [
            asyncio.create_task(late(case.login(3), rng.randrange(12))),
            asyncio.create_task(late(case.worker.refresh(case.victim.refresh_token), rng.randrange(40))),
            asyncio.create_task(late(case.other.refresh(case.victim.refresh_token), rng.randrange(40))),
        ]
        for _ in range(rng.randrange(40)):
            await asyncio.sleep(0)
        await ACTS[what](case)
        # This is the moment of the answer: from here on.
        assert not await case.worker.alive(case.victim)
        login, *refreshes = await asyncio.gather(*in_flight)
        rounds.met += await check_nothing_older_is_active(case, what, login, refreshes)


@pytest.mark.parametrize("what", one_in(3, ACTS))
async def test_an_act_that_is_held_up_anywhere(workers: list[World], clock: Clock, what: str) -> None:
    """A whole login and a whole refresh fall between any two store calls of the act."""
    at = 0
    while True:
        case = Case(workers[0], workers[1], at)
        await case.prepare()
        clock.forward(1)
        password, login, refreshed = case.password, None, None
        with pytest.MonkeyPatch.context() as patch:
            pause = Pausing(case.other.deps, patch, at)
            act = asyncio.create_task(_done(ACTS[what](case)))
            if await pause.held_up(act):
                login = await settled(case.worker.login(case.name, password, caller=case.caller(3)))
                refreshed = await settled(case.worker.refresh(case.victim.refresh_token))
                pause.go.set()
            await act
        assert not await case.worker.alive(case.victim)
        if login is None or refreshed is None:
            break
        await check_nothing_older_is_active(case, what, login, [refreshed])
        at += 1
    assert at >= 2, "the calls were not counted"


async def _done(act: Awaitable[None]) -> None:
    await act


async def test_revoking_a_token_against_refreshes_in_flight(workers: list[World]) -> None:
    """A refresh that races the revocation gets dead tokens or invalid_grant."""
    rng = random.Random(0)
    world = workers[0]
    await world.user()
    rounds = Rounds(3 * ROUNDS, enough=ROUNDS // 5)
    for round_ in rounds:
        grant = await world.login()
        in_flight = [asyncio.create_task(settled(w.refresh(grant.refresh_token))) for w in workers]
        for _ in range(rng.randrange(30)):
            await asyncio.sleep(0)
        presented = grant.access_token if round_ % 2 else grant.refresh_token or ""
        await revoke.revoke_token(workers[1].deps, OPERATOR, None, presented)
        assert not await world.active(grant.refresh_token)
        assert not await world.active(grant.access_token)
        for refreshed in await asyncio.gather(*in_flight):
            if isinstance(refreshed, Grant):
                rounds.met += 1
                assert not await world.alive(refreshed)


class Pausing:
    """Holds one task up before its n-th store call, so that the test can act at that point."""

    def __init__(self, deps: Deps, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self._calls, self._at = 0, at
        connection = deps.store.connection
        monkeypatch.setattr(connection, "_send", self._counted(connection._send))
        verify = deps.hasher.verify
        self.hashed_at: int | None = None

        async def verified(stored: str | None, password: str) -> bool:
            self.hashed_at = self._calls
            return await verify(stored, password)

        monkeypatch.setattr(deps.hasher, "verify", verified)

    async def held_up(self, task: "asyncio.Task[Any]") -> bool:
        """Wait until the task is held up. Returns False if the task ends first."""
        reached = asyncio.create_task(self.reached.wait())
        await asyncio.wait({task, reached}, return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        return self.reached.is_set()

    def _counted(self, really: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*args: Any, **kwargs: Any) -> Any:
            if self._calls == self._at:
                self.reached.set()
                await self.go.wait()
            self._calls += 1
            return await really(*args, **kwargs)

        return counted


@pytest.mark.parametrize("kind", ["login", "refresh", "issue"])
@pytest.mark.parametrize("what", one_in(5, ACTS))
async def test_every_interleaving(workers: list[World], clock: Clock, what: str, kind: str) -> None:
    """The act falls between any two store calls of a login, a refresh or an issuance.

    A refresh never survives the act. A login or an issuance survives only if it looked at the user after the act.
    """
    mine, other = workers[0], workers[1]
    issuer = await mine.client("issue")
    at, survived = 0, []
    while True:
        case = Case(mine, other, at)
        await case.prepare()
        if kind == "issue":
            case.client = await mine.deps.store.clients.get(issuer.client_id)
        work: Awaitable[Grant]
        if kind == "login":
            work = case.login(3)
        elif kind == "refresh":
            work = mine.refresh(case.victim.refresh_token)
        else:
            work = issue.issue(mine.deps, HERE, case.client, sub=case.sub)
        with pytest.MonkeyPatch.context() as patch:
            pause = Pausing(mine.deps, patch, at)
            task = asyncio.create_task(_any(work))
            if not await pause.held_up(task):
                assert isinstance(task.result(), Grant)
                break
            clock.forward(1)
            await ACTS[what](case)
            pause.go.set()
            got = await task
            looked = pause.hashed_at is not None and pause.hashed_at <= at
        assert isinstance(got, Grant | AuthError), got
        alive = isinstance(got, Grant) and await mine.active(got.access_token)
        assert (what == "revoke the client" and kind == "issue") or not await mine.alive(case.victim)
        if kind == "refresh" or (what in FINAL and kind == "login"):
            assert not alive, at
        if kind == "login" and looked:
            assert not alive, f"the login had checked the password before call {at}"
        survived.append(alive)
        at += 1
    assert at >= (2 if kind == "refresh" else 4), "the calls were not counted"
    # Once a login has looked too early, looking at the rest later does not bring it back.
    assert survived == sorted(survived, reverse=True)
    assert not survived[-1]


async def _any(work: Awaitable[Grant]) -> Grant | BaseException:
    try:
        return await work
    except AuthError as error:
        return error
