"""Races of logins with several steps: one code counts once, and nothing older survives a cut-off."""

import asyncio
from base64 import b32decode
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from authsvc.core import totp as codes
from authsvc.core.factors import Account, Factors
from authsvc.errors import (
    AuthError,
    InvalidSession,
    InvalidToken,
    StoreUnavailable,
    TooManyAttempts,
    TooManyChanges,
    WrongFactor,
)
from authsvc.flows import factors, step_up, steps, totp
from authsvc.flows.deps import OPERATOR
from authsvc.flows.grants import Grant
from authsvc.flows.steps import Completed
from authsvc.settings import Settings
from tests.conftest import APP_SCOPE, CHEAP, Clock
from tests.flows.conftest import HERE, World, caught, without_swap
from tests.flows.test_races import ACTS, Case, Pausing
from tests.flows.test_steps import Phone, by_code, by_recovery, enrolled, first_step

pytestmark = pytest.mark.slow

USES = 200
ROUNDS = 5


@pytest.fixture
def settings() -> Settings:
    # All answers of a round are looked at, so that the swap decides and not the rate limit.
    return Settings(**CHEAP, app_scope=APP_SCOPE, limit_per_factor=100)


async def proofs(workers: list[World], sub: str, make: Callable[[World], steps.Prove]) -> list[Any]:
    """The results of 200 proofs at the same time, without the rest of the login."""
    account = await workers[0].deps.store.users.find_account(sub)
    assert account is not None

    async def one(n: int, account: Account = account) -> Any:
        return await make(workers[n % len(workers)])(account)

    return await asyncio.gather(*map(one, range(USES)), return_exceptions=True)


def right(results: list[Any]) -> int:
    """How many proofs were right. All others were wrong, or one too many at the same time."""
    assert all(one in (("otp",), None) or isinstance(one, TooManyChanges) for one in results)
    return results.count(("otp",))


def by_totp(code: str) -> Callable[[World], steps.Prove]:
    return lambda world: totp.proof_by_code(world.deps, code)


def by_paper(code: str) -> Callable[[World], steps.Prove]:
    return lambda world: factors.ProofByRecoveryCode(world.deps, code)


async def test_one_code_counts_once(workers: list[World], clock: Clock) -> None:
    """Of 200 concurrent uses of one code on three workers, exactly one is right, in each round."""
    phone = await enrolled(workers[0], clock)
    for _ in range(ROUNDS):
        clock.forward(60)
        assert right(await proofs(workers, phone.user.sub, by_totp(phone.code()))) == 1


async def test_one_recovery_code_counts_once(workers: list[World], clock: Clock) -> None:
    """The same for a recovery code."""
    phone = await enrolled(workers[0], clock)
    for code in phone.recovery_codes[:ROUNDS]:
        assert right(await proofs(workers, phone.user.sub, by_paper(code))) == 1


async def test_the_control_without_the_swap(
    workers: list[World], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without compare-and-swap one code counts many times, so the tests above can fail."""
    phone = await enrolled(workers[0], clock)
    without_swap(monkeypatch)
    assert right(await proofs(workers, phone.user.sub, by_totp(phone.code()))) > 1
    assert right(await proofs(workers, phone.user.sub, by_paper(phone.recovery_codes[0]))) > 1


async def answers(workers: list[World], phone: Phone, auth_session: str) -> list[Any]:
    """200 right answers at the same time to one login, by five different codes."""

    async def one(n: int) -> Completed:
        world = workers[n % len(workers)]
        if n % 5 == 0:
            return await by_code(world, auth_session, phone.code())
        return await by_recovery(world, auth_session, phone.recovery_codes[n % 5])

    return await asyncio.gather(*map(one, range(USES)), return_exceptions=True)


async def test_one_login_is_completed_once(workers: list[World], clock: Clock) -> None:
    """Five factors prove one login in progress at the same time, 200 times in all. One session begins."""
    phone = await enrolled(workers[0], clock)
    for round_ in range(ROUNDS):
        me = await workers[0].me((await by_code(workers[0], await first_step(workers[0]), phone.code())).grant)
        phone.recovery_codes = await factors.replace_codes(workers[0].deps, HERE, me)
        clock.forward(60)
        found = await answers(workers, phone, await first_step(workers[0]))
        won = [one for one in found if isinstance(one, Completed)]
        assert len(won) == 1, round_
        refused = Completed | InvalidSession | WrongFactor | TooManyAttempts | TooManyChanges | StoreUnavailable
        assert {type(one) for one in found if not isinstance(one, refused)} == set()
        assert await workers[0].alive(won[0].grant)
        clock.forward(60)


async def remove_factor(case: Case) -> None:
    me = await case.other.me(case.actor)
    held = await case.other.deps.store.factors.get(case.sub)
    await factors.remove(case.other.deps, HERE, me, held.apps[0].id)


async def remove_all_factors(case: Case) -> None:
    await factors.remove_all(case.other.deps, OPERATOR, case.sub)


ALL_ACTS = ACTS | {"remove all factors": remove_all_factors}
# These acts end nothing that was proven before them.
SPARED = {"remove the factor"}


async def prepared(workers: list[World], clock: Clock, at: int) -> tuple[Case, Phone]:
    """A user with a factor and two sessions of two factors."""
    case = Case(workers[0], workers[1], at)
    phone = await enrolled(workers[0], clock, case.name)
    case.sub = phone.user.sub
    grants = []
    for code in phone.recovery_codes[:2]:
        done = await by_recovery(workers[0], await first_step(workers[0], case.name), code)
        grants.append(done.grant)
    case.victim, case.actor = grants
    return case, phone


@pytest.mark.parametrize("what", ["remove the factor", *ALL_ACTS])
async def test_an_act_between_any_two_calls_of_a_step(workers: list[World], clock: Clock, what: str) -> None:
    """The act falls between any two store calls of the second step. No session of this login is active afterwards."""
    mine, at, opened = workers[0], 0, []
    while True:
        case, phone = await prepared(workers, clock, at)
        auth_session = await first_step(mine, case.name)
        with pytest.MonkeyPatch.context() as patch:
            pause = Pausing(mine.deps, patch, at)
            task = asyncio.create_task(caught(by_code(mine, auth_session, phone.code())))
            if not await pause.held_up(task):
                assert isinstance(task.result(), Completed)
                break
            clock.forward(1)
            await (remove_factor(case) if what in SPARED else ALL_ACTS[what](case))
            pause.go.set()
            got = await task
        alive = isinstance(got, Completed) and await mine.active(got.grant.access_token)
        assert what in SPARED or not alive, f"call {at}"
        opened.append(isinstance(got, Completed))
        at += 1
    assert at >= 8, "the calls were not counted"
    assert not opened[0]
    assert opened == sorted(opened), "what was not proven before the act is not proven afterwards"


async def touched(case: Case, before: Factors) -> bool:
    """Raise the epoch of the factors, and keep all of them. Returns whether one was used since `before`."""
    deps = case.other.deps
    held = await deps.store.factors.get(case.sub)
    await deps.store.factors.change(case.sub, lambda one: one.with_codes(one.codes, deps.clock()))
    return held != before


@pytest.mark.parametrize("method", ["totp", "recovery"])
async def test_a_change_of_the_factors_between_any_two_calls_of_a_step(
    workers: list[World], clock: Clock, method: str
) -> None:
    """Only a code that was used before the change completes the login."""
    mine, at, completed = workers[0], 0, []
    while True:
        case, phone = await prepared(workers, clock, at)
        auth_session, before = await first_step(mine, case.name), await mine.deps.store.factors.get(case.sub)
        if method == "totp":
            work = by_code(mine, auth_session, phone.code())
        else:
            work = by_recovery(mine, auth_session, phone.recovery_codes[5])
        with pytest.MonkeyPatch.context() as patch:
            pause = Pausing(mine.deps, patch, at)
            task = asyncio.create_task(caught(work))
            if not await pause.held_up(task):
                break
            used = await touched(case, before)
            pause.go.set()
            got = await task
        completed.append(isinstance(got, Completed))
        assert completed[-1] == used, f"call {at}"
        assert used or isinstance(got, InvalidSession), f"call {at}"
        at += 1
    assert {*completed} == {True, False}, "the change came before and after the use"


@pytest.mark.parametrize("what", ALL_ACTS)
async def test_an_act_that_is_held_up_by_a_step(workers: list[World], clock: Clock, what: str) -> None:
    """A whole second step falls between any two store calls of the act."""
    at = 0
    while True:
        case, phone = await prepared(workers, clock, at)
        auth_session = await first_step(workers[0], case.name)
        clock.forward(1)
        got = None
        with pytest.MonkeyPatch.context() as patch:
            pause = Pausing(case.other.deps, patch, at)
            act = asyncio.create_task(caught(ALL_ACTS[what](case)))
            if await pause.held_up(act):
                got = await caught(by_code(workers[0], auth_session, phone.code()))
                pause.go.set()
            assert await act is None
        if got is None:
            break
        assert not isinstance(got, Completed) or not await workers[0].active(got.grant.access_token), f"call {at}"
        at += 1
    assert at >= 2, "the calls were not counted"


async def stepping_up(world: World, grant: Grant, code: str) -> Completed:
    """A whole step-up of this session."""
    begun = await step_up.step_up(world.deps, HERE, await world.me(grant), cookie=False)
    assert begun.auth_session is not None
    return await by_code(world, begun.auth_session, code)


async def _acted(act: Awaitable[None]) -> bool:
    """Whether the acting session was still active."""
    try:
        await act
    except (AuthError, AssertionError):  # the test asks for the session with an assertion
        return False
    return True


@pytest.mark.parametrize("what", ALL_ACTS)
async def test_an_act_between_any_two_calls_of_a_step_up(workers: list[World], clock: Clock, what: str) -> None:
    """The act falls between any two store calls of a step-up of the session that acts.

    A change of the password leaves only its own tokens: who began the step-up may have known the old password.
    """
    mine, at = workers[0], 0
    while True:
        case, phone = await prepared(workers, clock, at)
        with pytest.MonkeyPatch.context() as patch:
            pause = Pausing(mine.deps, patch, at)
            task = asyncio.create_task(caught(stepping_up(mine, case.actor, phone.code())))
            if not await pause.held_up(task):
                assert isinstance(task.result(), Completed)
                break
            clock.forward(1)
            before = case.actor
            acted = await _acted(ALL_ACTS[what](case))
            pause.go.set()
            got = await task
        at += 1
        if not acted:  # the step-up had replaced the tokens of the acting session
            continue
        alive = isinstance(got, Completed) and await mine.active(got.grant.access_token)
        if what == "change the password":
            assert not alive, f"call {at}"
            assert await mine.active(case.actor.access_token)
        elif what != "end the others":
            assert not alive, f"call {at}"
            assert not await mine.active(before.access_token)
    assert at >= 8, "the calls were not counted"


async def test_an_enrolment_against_a_change_of_the_password(workers: list[World], clock: Clock) -> None:
    """Who held the session before its owner changed the password adds no factor afterwards."""
    mine, refused = workers[0], 0
    for at in range(2):
        case = Case(workers[0], workers[1], at)
        case.sub = (await mine.user(case.name)).sub
        case.victim = case.actor = await case.login(1)
        guard = factors.by_session(await mine.me(case.actor))
        user = await mine.deps.store.users.get(case.sub)
        begun = await totp.enrol(mine.deps, guard, user, None)
        code = codes.code_at(b32decode(begun.secret), int(clock()) // codes.PERIOD_S)
        with pytest.MonkeyPatch.context() as patch:
            pause = Pausing(mine.deps, patch, at)
            task = asyncio.create_task(caught(totp.confirm(mine.deps, HERE, guard, case.sub, begun.id, code)))
            assert await pause.held_up(task)
            await ACTS["change the password"](case)
            pause.go.set()
            refused += isinstance(await task, InvalidToken)
        assert not (await factors.find(mine.deps, case.sub)).active
    assert refused == 2


async def test_two_logins_enrol_at_once(workers: list[World], clock: Clock) -> None:
    """A login that enrols the first factor ends when another login has enrolled one meanwhile."""
    mine = workers[0]
    for at in range(2):
        user = await mine.user(f"user{at}")
        await factors.require(mine.deps, OPERATOR, user.sub, required=True)
        confirmations = []
        for _ in range(2):
            progress = await steps.find(mine.deps, await first_step(mine, f"user{at}"))
            guard = factors.by_login(progress.step)
            begun = await totp.enrol(mine.deps, guard, user, None)
            code = codes.code_at(b32decode(begun.secret), int(clock()) // codes.PERIOD_S)
            confirmations.append((guard, user.sub, begun.id, code))
        with pytest.MonkeyPatch.context() as patch:
            pause = Pausing(mine.deps, patch, at)
            task = asyncio.create_task(caught(totp.confirm(mine.deps, HERE, *confirmations[0])))
            assert await pause.held_up(task)
            await totp.confirm(workers[1].deps, HERE, *confirmations[1])
            pause.go.set()
            assert isinstance(await task, InvalidSession)
        assert [app.id for app in (await factors.find(mine.deps, user.sub)).apps] == [confirmations[1][2]]
