"""The cache with a real service behind it: what it spares, and what every change does to it."""

import asyncio
import os
import random
import time
import timeit
from collections.abc import AsyncIterator, Callable

import pytest

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from authsvc.sdk import INACTIVE, Active, AsyncIntrospector, Introspector, Unavailable
from tests.processes import until
from tests.sdk.conftest import World
from tests.sdk.network import Network


@pytest.fixture
async def ask(world: World) -> AsyncIterator[AsyncIntrospector]:
    async with AsyncIntrospector(world.server.url, *world.client, cache=True) as introspector:
        yield introspector


async def soon(done: Callable[[], object], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110 - nothing tells when a cache forgets
            await asyncio.sleep(0.001)


async def warmed(ask: AsyncIntrospector, token: str) -> Active | None:
    """Ask until the answer comes from the cache."""
    async with asyncio.timeout(5):
        while ask.cached(token) is None:
            await ask.introspect(token)
            await asyncio.sleep(0.01)
    answer = ask.cached(token)
    return answer if isinstance(answer, Active) else None


async def test_every_change_is_heard(world: World, ask: AsyncIntrospector) -> None:
    """Whatever an answer depends on is changed by somebody else: the next check knows, without being told."""
    sub = world.user()
    backend = f"/admin/clients/{world.client[0]}"
    token = world.token()
    assert (await warmed(ask, token) or INACTIVE) == await ask.introspect(token)
    for path, change in [
        (f"/admin/users/{sub}", {"roles": ["editor"]}),
        (f"/admin/users/{sub}", {"claims": {"desk": 7}}),
        ("/admin/clients/app", {"name": "the app"}),
        (backend, {"name": "a backend"}),
    ]:
        await warmed(ask, token)
        world.http.patch(path, json=change, auth=world.server.admin).raise_for_status()
        await soon(lambda: ask.cached(token) is None)
    answer = await ask.introspect(token)
    assert isinstance(answer, Active)
    assert answer.roles == {"editor"}
    assert answer.claims["desk"] == 7
    await warmed(ask, token)
    world.revoke(all="true")
    await soon(lambda: ask.cached(token) is None)
    assert await ask.introspect(token) is INACTIVE


async def test_logging_out_and_suspending(world: World, ask: AsyncIntrospector) -> None:
    """One session ends and the others stay cached; the user is suspended and none does."""
    sub = world.user()
    first, second = world.token(), world.token()
    await warmed(ask, first)
    await warmed(ask, second)
    world.revoke(token=first)
    await soon(lambda: ask.cached(first) is None)
    assert ask.cached(second) is not None
    world.http.patch(f"/admin/users/{sub}", json={"status": "suspended"}, auth=world.server.admin).raise_for_status()
    await soon(lambda: ask.cached(second) is None)
    assert await ask.introspect(second) is INACTIVE


async def test_a_change_by_an_operator_in_the_store(world: World, ask: AsyncIntrospector) -> None:
    """A record that is deleted by hand, and a store that is emptied, are heard like any other change."""
    world.user()
    token, other = world.token(), world.token()
    await warmed(ask, token)
    await warmed(ask, other)
    with world.server.valkey() as valkey:
        valkey.delete(f"session:{token[4:16]}")
        await soon(lambda: ask.cached(token) is None)
        assert ask.cached(other) is not None
        valkey.flushall()
        await soon(lambda: ask.cached(other) is None)


async def test_an_answer_on_its_way(world: World) -> None:
    """An answer that arrives after the change it does not know of is given to who asked, and not kept."""
    sub = world.user()
    token = world.token()
    with Network(world.server.port) as network:
        async with AsyncIntrospector(network.url, *world.client, cache=True) as ask:
            await warmed(ask, token)
            world.http.patch(f"/admin/users/{sub}", json={"roles": ["a"]}, auth=world.server.admin)
            await soon(lambda: ask.cached(token) is None)
            network.late_s = 0.5
            older = asyncio.create_task(ask.introspect(token))
            await asyncio.sleep(0.2)
            await asyncio.to_thread(
                world.http.patch, f"/admin/users/{sub}", json={"roles": ["b"]}, auth=world.server.admin
            )
            assert not older.done()
            answer = await older
            assert isinstance(answer, Active)
            assert answer.has_role("a")
            assert ask.cached(token) is None
            network.late_s = 0.0
            await ask.introspect(token)
            assert isinstance(ask.cached(token), Active)


async def test_changes_without_pause(world: World, ask: AsyncIntrospector) -> None:
    """Changed again and again while it is asked about without pause, the cache never holds on to an older answer."""
    sub = world.user()
    token = world.token()
    await warmed(ask, token)
    going = True

    async def keep_asking() -> None:
        while going:
            await ask.introspect(token)
            await asyncio.sleep(random.uniform(0, 0.002))

    crowd = [asyncio.create_task(keep_asking()) for _ in range(10)]
    for number in range(50):
        roles = [f"role{number}"]
        await asyncio.to_thread(world.http.patch, f"/admin/users/{sub}", json={"roles": roles}, auth=world.server.admin)

        def knows(roles: list[str] = roles) -> bool:
            answer = ask.cached(token)
            return answer is None or (isinstance(answer, Active) and answer.has_role(*roles))

        await soon(knows, 0.5)
        await warmed(ask, token)
        assert knows()
    going = False
    await asyncio.gather(*crowd)


async def test_inactive_answers_are_kept(world: World, ask: AsyncIntrospector) -> None:
    """A client that goes on with a revoked token, or with an invented one, costs the service nothing more."""
    world.user()
    revoked, invented = world.token(), tokens.new(Kind.ACCESS).text
    world.revoke(token=revoked)
    for token in (revoked, invented):
        await warmed(ask, token)
        assert ask.cached(token) is INACTIVE


async def test_its_use_counts(world: World) -> None:
    """A session with a short idle time stays alive by being used, though most checks are answered by the cache."""
    world.http.patch("/admin/clients/app", json={"idle_ttl_s": 8}, auth=world.server.admin).raise_for_status()
    world.user()
    token = world.token()
    async with AsyncIntrospector(world.server.url, *world.client, cache=True) as ask:
        began, hits = time.monotonic(), 0
        while time.monotonic() < began + 12:
            hits += ask.cached(token) is not None
            assert isinstance(await ask.introspect(token), Active)
            await asyncio.sleep(0.05)
        assert hits
    said = world.http.post("/introspect", data={"token": token}, auth=world.server.admin).json()
    assert said["active"]


async def test_how_fast_it_is(world: World, ask: AsyncIntrospector) -> None:
    """A check that is answered by the cache takes some microseconds at most; docs/sdk.md has the measured figures."""
    world.user()
    token = world.token()
    await warmed(ask, token)
    assert min(timeit.repeat(lambda: ask.cached(token), number=10_000, repeat=5)) / 10_000 < 10e-6


async def test_stale_needs_an_outage(world: World) -> None:
    """With `serve_stale_for_s` a revocation is honoured as without, as long as the service can be asked."""
    world.user()
    token = world.token()
    async with AsyncIntrospector(world.server.url, *world.client, cache=True, serve_stale_for_s=600) as ask:
        await warmed(ask, token)
        world.revoke(token=token)
        await soon(lambda: ask.cached(token) is None)
        assert await ask.introspect(token) is INACTIVE
        other = world.token()
        await warmed(ask, other)
        world.revoke(token=other)
        await soon(lambda: ask.cached(other) is None)
        world.server.kill()
        with pytest.raises(Unavailable):  # forgotten by an event: not to be had, however long it lasts
            await ask.introspect(other)


async def test_stale_bridges_an_outage(world: World) -> None:
    """What was valid when the service went away is answered for a while."""
    world.user()
    token, unknown = world.token(), world.token()
    async with AsyncIntrospector(world.server.url, *world.client, cache=True, serve_stale_for_s=600) as ask:
        answer = await warmed(ask, token)
        world.server.kill()
        await soon(lambda: ask.cached(token) is None)
        assert await ask.introspect(token) is answer
        with pytest.raises(Unavailable):
            await ask.introspect(unknown)


def test_a_forked_child_listens_for_itself(world: World) -> None:
    """A child takes nothing from its parent's cache, hears of changes itself, and leaves the parent's feed alone."""
    world.user()
    token, kept = world.token(), world.token()
    with Introspector(world.server.url, *world.client, cache=True) as ask:
        for each in (token, kept):
            until(lambda each=each: ask.introspect(each) and ask.cached(each))  # type: ignore[misc]
        reading, writing = os.pipe()
        told, telling = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert ask.cached(token) is None
                until(lambda: ask.introspect(token) and ask.cached(token))
                os.write(writing, b"x")
                os.read(told, 1)
                until(lambda: ask.cached(token) is None)
                assert ask.introspect(token) is INACTIVE
                ask.close()
                code = 0
            finally:
                os._exit(code)
        os.close(writing)  # so that a child that dies is noticed
        assert os.read(reading, 1)
        world.revoke(token=token)
        os.write(telling, b"x")
        until(lambda: ask.cached(token) is None)
        assert os.waitpid(child, 0)[1] == 0
        assert isinstance(ask.cached(kept), Active)
        time.sleep(2.5)  # beyond the bound: the parent's feed goes on
        assert isinstance(ask.cached(kept), Active)
        for descriptor in (reading, told, telling):
            os.close(descriptor)
