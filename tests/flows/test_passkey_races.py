"""Races of logins by passkey: one answer counts once, and nothing older survives a cut-off."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from authsvc.core.client import BUILT_IN
from authsvc.core.passkey import Assertion, Registration
from authsvc.errors import AuthError, InvalidCredentials, InvalidSession, TooManyChanges
from authsvc.flows import factors, passkeys, steps
from authsvc.flows.grants import Asked, Grant
from authsvc.flows.steps import Completed
from authsvc.settings import Settings
from tests.authenticators import Authenticator, parts
from tests.conftest import APP_SCOPE, CHEAP, Clock
from tests.flows.conftest import HERE, World, caught, without_swap
from tests.flows.test_races import Case, Pausing
from tests.flows.test_step_races import ALL_ACTS, ROUNDS, USES, touched
from tests.flows.test_steps import first_step

pytestmark = pytest.mark.slow

ASKED = Asked("", None, cookie=False)
# After these a login that begins later finds no passkey, or no user who may log in.
FINAL = {"suspend", "delete", "remove all factors"}


@pytest.fixture
def settings() -> Settings:
    # All answers of a round are looked at, so that the swap decides and not the rate limit.
    return Settings(**CHEAP, app_scope=APP_SCOPE, unlimited_networks=("192.0.2.0/24",))


async def prepared(mine: World, other: World, at: int, *, synced: bool = True) -> tuple[Case, Authenticator]:
    """A user with two sessions and a passkey."""
    case = Case(mine, other, at)
    await case.prepare()
    me, device = await mine.me(case.actor), Authenticator(synced=synced)
    guard = factors.by_session(me)
    found = parts(device.create(await passkeys.creation_options(mine.deps, guard, me.handle, case.sub)))
    registration = Registration(found["clientDataJSON"], found["attestationObject"])
    await passkeys.register(mine.deps, HERE, guard, me.handle, passkeys.NewAnswer(registration, None, ()), case.sub)
    return case, device


def answer_of(device: Authenticator, options: dict[str, Any]) -> Assertion:
    found = parts(device.get(options))
    names = ("clientDataJSON", "authenticatorData", "signature", "userHandle")
    return Assertion(device.credential, *(found[name] for name in names))


async def logging_in(world: World, auth_session: str, answer: Assertion) -> Grant:
    client = await world.deps.store.clients.get(BUILT_IN)
    service = await world.deps.store.service.get()
    return await passkeys.login(world.deps, HERE, client, service, auth_session, answer, ASKED)


async def all_at_once(workers: list[World], device: Authenticator) -> list[Any]:
    """The results of 200 uses of one answer at the same time."""
    begun = await passkeys.begin_login(workers[0].deps, HERE)
    answer = answer_of(device, begun.options)
    uses = (logging_in(workers[n % len(workers)], begun.auth_session, answer) for n in range(USES))
    return await asyncio.gather(*uses, return_exceptions=True)


@pytest.mark.parametrize("synced", [True, False])
async def test_one_answer_counts_once(workers: list[World], synced: bool) -> None:
    """Of 200 concurrent uses of one answer on three workers exactly one logs in, in each round."""
    _, device = await prepared(workers[0], workers[1], 0, synced=synced)
    for _ in range(ROUNDS):
        found = await all_at_once(workers, device)
        assert sum(isinstance(one, Grant) for one in found) == 1
        refused = Grant | InvalidSession | InvalidCredentials | TooManyChanges
        assert {type(one) for one in found if not isinstance(one, refused)} == set()


async def test_the_control_without_the_swap(workers: list[World], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without compare-and-swap one answer counts many times, so the test above can fail."""
    _, device = await prepared(workers[0], workers[1], 0)
    without_swap(monkeypatch)
    assert sum(isinstance(one, Grant) for one in await all_at_once(workers, device)) > 1


@pytest.mark.parametrize("what", ALL_ACTS)
async def test_an_act_between_any_two_calls_of_a_login(workers: list[World], clock: Clock, what: str) -> None:
    """The act falls between any two store calls of a login by passkey alone.

    A session survives only if its login looked at the user after the act, and never after a final act.
    """
    mine, at, survived = workers[0], 0, []
    while True:
        case, device = await prepared(mine, workers[1], at)
        begun = await passkeys.begin_login(mine.deps, HERE)
        answer = answer_of(device, begun.options)
        with pytest.MonkeyPatch.context() as patch:
            pause = Pausing(mine.deps, patch, at)
            task = asyncio.create_task(caught(logging_in(mine, begun.auth_session, answer)))
            if not await pause.held_up(task):
                assert isinstance(task.result(), Grant)
                break
            clock.forward(1)
            await ALL_ACTS[what](case)
            pause.go.set()
            got = await task
        assert isinstance(got, Grant | AuthError), got
        survived.append(isinstance(got, Grant) and await mine.active(got.access_token))
        assert not (survived[-1] and what in FINAL), f"call {at}"
        at += 1
    assert at >= 8, "the calls were not counted"
    assert survived == sorted(survived, reverse=True), "what looked at the user before the act survived it"
    assert not any(survived[-4:]), "the last calls come after the user was read"


async def second_step(world: World, case: Case, device: Authenticator) -> Callable[[], Awaitable[Completed]]:
    """The second step of a login that the password has begun."""
    progress = await steps.find(world.deps, await first_step(world, case.name))
    account = await world.deps.store.users.find_account(case.sub)
    assert account is not None
    of = progress.token.handle
    answer = answer_of(device, await passkeys.step_options(world.deps, of, account))
    client = await world.deps.store.clients.get(BUILT_IN)
    proof = passkeys.proof_by_passkey(world.deps, of, answer)
    return lambda: steps.answer(world.deps, HERE, client, progress, steps.PASSKEY, proof)


@pytest.mark.parametrize("alone", [True, False])
async def test_a_change_of_the_factors_between_any_two_calls(workers: list[World], alone: bool) -> None:
    """Only an answer that was noted before the change completes a second step.

    A login by passkey alone begins with the factors that it reads. It ends if they change before its answer is noted.
    """
    mine, at, found = workers[0], 0, []
    while True:
        case, device = await prepared(mine, workers[1], at, synced=False)
        work: Awaitable[Any]
        if alone:
            begun = await passkeys.begin_login(mine.deps, HERE)
            work = logging_in(mine, begun.auth_session, answer_of(device, begun.options))
        else:
            work = (await second_step(mine, case, device))()
        before = await mine.deps.store.factors.get(case.sub)
        with pytest.MonkeyPatch.context() as patch:
            pause = Pausing(mine.deps, patch, at)
            task = asyncio.create_task(caught(work))
            if not await pause.held_up(task):
                break
            noted = await touched(case, before)
            pause.go.set()
            got = await task
        found.append(isinstance(got, Grant | Completed))
        assert found[-1] or isinstance(got, InvalidSession), got
        assert found[-1] or not noted, f"call {at}"
        assert alone or found[-1] == noted, f"call {at}"
        at += 1
    assert {*found} == {True, False}, "the change came before and after the answer was noted"
