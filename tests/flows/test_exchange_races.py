"""Races of exchanged tokens: no end of their session, of their client or of themselves is overtaken."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from authsvc.core import exchange as exchanges
from authsvc.core import issuing
from authsvc.core import session as sessions
from authsvc.core.client import Client
from authsvc.core.exchanged import MOST
from authsvc.errors import InvalidRequest, TooManyChanges, TooManyTokens
from authsvc.flows import clients, revoke, step_up, steps
from authsvc.flows.clients import Parties
from authsvc.flows.deps import OPERATOR
from authsvc.flows.exchange import exchange
from authsvc.flows.grants import Grant
from tests.conftest import PASSWORD, Clock
from tests.flows.conftest import HERE, World, caught, without_swap
from tests.flows.rounds import Rounds
from tests.flows.test_races import ACTS, Case, Pausing

pytestmark = pytest.mark.slow

ROUNDS = 100
AT_ONCE = 50
AUDIENCES = tuple(f"server{n}" for n in range(20))


@dataclass
class Exchanges:
    """A user's session, and a client that exchanges its tokens."""

    case: Case
    client: Client

    async def parties(self, world: World) -> Parties:
        """The client as it is read when a request begins."""
        client = await world.deps.store.clients.find(self.client.client_id)
        return Parties(client or self.client, await world.deps.store.service.get())

    async def exchange(
        self, world: World, subject: str | None = None, audience: str = "server0", parties: Parties | None = None
    ) -> Grant:
        parties = parties or await self.parties(world)
        subject = subject or self.case.victim.access_token
        return await exchange(world.deps, HERE, parties, subject, audience=audience, scope=None)


async def an_exchanger(world: World) -> Client:
    return await world.client("introspect", "exchange", exchange_audience=AUDIENCES)


async def begun(workers: list[World], round_: int, client: Client | None = None) -> Exchanges:
    case = Case(workers[round_ % 3], workers[(round_ + 1) % 3], round_)
    await case.prepare()
    return Exchanges(case, client or await an_exchanger(workers[0]))


async def revoke_session(it: Exchanges) -> None:
    await revoke.revoke_token(it.case.other.deps, OPERATOR, None, it.case.victim.access_token)


async def revoke_exchanger(it: Exchanges) -> None:
    await revoke.revoke_client(it.case.other.deps, OPERATOR, it.client.client_id)


async def delete_exchanger(it: Exchanges) -> None:
    await clients.delete(it.case.other.deps, OPERATOR, it.client.client_id)


async def prove_again(it: Exchanges) -> None:
    """A step-up of the session whose tokens are exchanged."""
    world = it.case.other
    begun = await step_up.step_up(world.deps, HERE, await world.me(it.case.victim), cookie=False)
    assert begun.auth_session is not None
    progress = await steps.find(world.deps, begun.auth_session)
    prove = step_up.proof_by_password(world.deps, HERE, PASSWORD)
    await steps.answer(world.deps, HERE, world.app, progress, "password", prove)


Act = Callable[[Exchanges], Awaitable[None]]


def of_case(act: Callable[[Case], Awaitable[None]]) -> Act:
    return lambda it: act(it.case)


ALL_ACTS: dict[str, Act] = {name: of_case(act) for name, act in ACTS.items()} | {
    "revoke the session": revoke_session,
    "revoke the exchanging client": revoke_exchanger,
    "delete the exchanging client": delete_exchanger,
    "step up": prove_again,
}


def pausing(world: World, patch: pytest.MonkeyPatch, at: int) -> Pausing:
    """Holds the exchange up before its n-th question to the store, its lookup included."""
    pause = Pausing(world.deps, patch, at)
    patch.setattr(world.deps.store.lookup, "session", pause._counted(world.deps.store.lookup.session))
    return pause


@pytest.mark.parametrize("what", ALL_ACTS)
async def test_an_act_between_any_two_calls_of_an_exchange(workers: list[World], clock: Clock, what: str) -> None:
    """The act falls between any two store calls of an exchange. No token of it is active afterwards."""
    at, got_one = 0, 0
    while True:
        it = await begun(workers, at)
        mine = it.case.worker
        parties = await it.parties(mine)
        with pytest.MonkeyPatch.context() as patch:
            pause = pausing(mine, patch, at)
            task = asyncio.create_task(caught(it.exchange(mine, parties=parties)))
            if not await pause.held_up(task):
                assert isinstance(task.result(), Grant)
                break
            clock.forward(1)
            await ALL_ACTS[what](it)
            pause.go.set()
            got = await task
        assert isinstance(got, Grant | InvalidRequest), got
        if isinstance(got, Grant):
            got_one += 1
            assert not await mine.active(got.access_token), f"call {at}"
        at += 1
    assert at >= 3, "the calls were not counted"
    if what != "step up":  # new tokens in the record refuse the exchange wherever the act falls
        assert got_one or what in ("delete", "revoke the session"), "the act was never overtaken"


@pytest.mark.parametrize("what", ALL_ACTS)
async def test_an_act_that_is_held_up_by_an_exchange(workers: list[World], clock: Clock, what: str) -> None:
    """A whole exchange falls between any two store calls of the act. Nothing of it is active after the answer."""
    at = 0
    while True:
        it = await begun(workers, at)
        mine, other = it.case.worker, it.case.other
        before = await it.exchange(mine, audience="server1")
        clock.forward(1)
        got = None
        with pytest.MonkeyPatch.context() as patch:
            pause = pausing(other, patch, at)
            act = asyncio.create_task(caught(ALL_ACTS[what](it)))
            if await pause.held_up(act):
                got = await caught(it.exchange(mine))
                pause.go.set()
            assert await act is None
        assert not await mine.active(before.access_token)
        if got is None:
            break
        if isinstance(got, Grant):
            # A client that is read after its cut-off may go on; before it, not.
            again = what == "revoke the exchanging client" and await mine.active(it.case.victim.access_token)
            assert again or not await mine.active(got.access_token), f"call {at}"
        at += 1
    assert at >= 1, "the calls were not counted"


KINDS = ["the session", "the token", "the exchanging client"]


async def end_of(what: str, it: Exchanges, child: str) -> None:
    """End it, as a worker does that is not the one that exchanges."""
    deps = it.case.other.deps
    if what == "the token":
        await revoke.revoke_token(deps, OPERATOR, None, child)
    elif what == "the session":
        await revoke_session(it)
    else:
        await revoke_exchanger(it)


@pytest.mark.parametrize("what", KINDS)
async def test_hundreds_of_rounds_at_random_moments(workers: list[World], what: str) -> None:
    """From the answer on, no worker finds the token active: not in a lookup, nor in what a repeated exchange gives.

    Introspections, refreshes of the session and exchanges of the token itself are in flight meanwhile.
    """
    rng = random.Random(what)
    it = await begun(workers, 0)
    rounds = Rounds(ROUNDS, enough=ROUNDS // 5)
    for _ in rounds:
        it.case.victim = await it.case.login(1)
        it.client = await workers[0].deps.store.clients.get(it.client.client_id)
        parties = await it.parties(workers[0])
        child = (await it.exchange(workers[0])).access_token
        in_flight = [
            asyncio.create_task(late(rng, it.exchange(worker, parties=parties), caught)) for worker in workers
        ] + [
            asyncio.create_task(late(rng, it.exchange(workers[0], child, "server2", parties), caught)),
            asyncio.create_task(late(rng, workers[1].active(child), caught)),
            asyncio.create_task(late(rng, workers[2].refresh(it.case.victim.refresh_token), caught)),
        ]
        for _ in range(rng.randrange(30)):
            await asyncio.sleep(0)
        await end_of(what, it, child)
        assert [await worker.active(child) for worker in workers] == [False] * 3
        *exchanges, second, _, refreshed = await asyncio.gather(*in_flight)
        assert not any([await worker.active(child) for worker in workers]), "nothing brings it back"
        for got in (*exchanges, second):
            assert isinstance(got, Grant | InvalidRequest | TooManyChanges), got
            if isinstance(got, Grant):
                dead = what != "the token" or got is second or got.access_token == child
                rounds.met += dead
                assert await workers[0].active(got.access_token) is not dead
        alive = isinstance(refreshed, Grant) and await workers[0].active(refreshed.access_token)
        assert alive is (what != "the session"), "the session ends only with itself"


async def late(rng: random.Random, work: Awaitable[Any], settle: Callable[[Awaitable[Any]], Awaitable[Any]]) -> Any:
    """Begin after some turns of the event loop."""
    for _ in range(rng.randrange(30)):
        await asyncio.sleep(0)
    return await settle(work)


async def test_the_same_request_at_the_same_time(workers: list[World]) -> None:
    """All get one token, which is in the record once."""
    it = await begun(workers, 0)
    got = await asyncio.gather(*(it.exchange(workers[n % 3]) for n in range(AT_ONCE)))
    assert len({grant.access_token for grant in got}) == 1
    session = await workers[0].deps.store.sessions.get(it.case.victim.session_id)
    assert len(session.exchanged) == 1
    assert await workers[0].active(got[0].access_token)


async def test_at_most_sixteen_at_the_same_time(workers: list[World]) -> None:
    """Of many different requests sixteen succeed, and what was given works."""
    it = await begun(workers, 0)
    given = await given_at_once(workers, it)
    assert len(given) == MOST
    assert all([await workers[0].active(token) for token in given])


async def given_at_once(workers: list[World], it: Exchanges) -> list[str]:
    results = await asyncio.gather(
        *(caught(it.exchange(workers[n % 3], audience=audience)) for n, audience in enumerate(AUDIENCES))
    )
    assert all(isinstance(one, Grant | TooManyTokens) for one in results)
    return [one.access_token for one in results if isinstance(one, Grant)]


async def test_the_control_without_the_swap(workers: list[World], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without compare-and-swap what was given is lost again, so the tests above can fail."""
    it = await begun(workers, 0)
    without_swap(monkeypatch)
    given = await given_at_once(workers, it)
    assert not all([await workers[0].active(token) for token in given])


async def test_the_control_without_the_epoch(workers: list[World], monkeypatch: pytest.MonkeyPatch) -> None:
    """If nobody looks at the client that exchanged, its cut-off leaves the token alive."""
    it = await begun(workers, 0)
    monkeypatch.setattr(sessions, "exchanger_reason", lambda found, chain: None)
    child = await it.exchange(workers[0])
    await revoke_exchanger(it)
    assert await workers[0].active(child.access_token)


async def test_the_control_with_a_step_up_that_keeps_them(
    workers: list[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If new tokens left exchanged tokens in the record, these would have the strength of the step-up."""
    it = await begun(workers, 0)
    child = await it.exchange(workers[0])
    reissue = issuing.reissue_tokens

    def keeping(session: Any, handle: str, **fields: Any) -> Any:
        fresh, pair = reissue(session, handle, **fields)
        return fresh.but(exchanged=session.exchanged, exchange_seed=session.exchange_seed), pair

    monkeypatch.setattr(issuing, "reissue_tokens", keeping)
    await prove_again(it)
    assert await workers[0].active(child.access_token)


async def test_the_control_that_trusts_the_first_look(workers: list[World], monkeypatch: pytest.MonkeyPatch) -> None:
    """If the token were not matched with the record that is replaced, an old one would get another after a step-up."""
    it = await begun(workers, 0)
    mine, looked = it.case.worker, list[tuple[sessions.Session, exchanges.Issued]]()
    really = exchanges.exchange

    def trusting(session: sessions.Session, subject: Any, wish: Any, now: float) -> Any:
        if not looked:
            looked.append(really(session, subject, wish, now))
            return looked[0]
        first, issued = looked[0]
        return session.but(exchanged=first.exchanged, exchange_seed=first.exchange_seed), issued

    monkeypatch.setattr(exchanges, "exchange", trusting)
    parties = await it.parties(mine)
    with pytest.MonkeyPatch.context() as patch:
        pause = pausing(mine, patch, 1)
        task = asyncio.create_task(caught(it.exchange(mine, parties=parties)))
        assert await pause.held_up(task)
        await prove_again(it)
        pause.go.set()
        got = await task
    assert isinstance(got, Grant)
    assert await mine.active(got.access_token)
