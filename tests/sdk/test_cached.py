"""The cache with a real service: which requests it saves, and how each change reaches it."""

import asyncio
import os
import random
import time
import timeit
from collections.abc import AsyncIterator, Callable
from hashlib import sha256

import pytest
from authsvc_sdk import INACTIVE, Active, AsyncIntrospector, Introspector, Unavailable

from authsvc.core import token as tokens
from authsvc.core.token import Kind
from tests.processes import in_time, until
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


async def test_every_change_drops_the_answer(world: World, ask: AsyncIntrospector) -> None:
    """A change of any record that an answer depends on drops the answer, whoever makes the change."""
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
    """The end of a session drops its answer; suspending the user drops all of the user's answers."""
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
    """Deleting a record by hand, and emptying the store, drop answers like any other change."""
    world.user()
    token, other = world.token(), world.token()
    await warmed(ask, token)
    await warmed(ask, other)
    with world.server.valkey() as valkey:
        valkey.delete(f"session:{token[4:16]}")
        await soon(lambda: ask.cached(token) is None)
        assert ask.cached(other) is not None
        valkey.flushall()
        world.spoiled = True
        await soon(lambda: ask.cached(other) is None)


async def test_an_answer_on_its_way(world: World) -> None:
    """An answer from before a change that arrives after the change is returned once and not kept."""
    sub = world.user()
    token, other = world.token(), world.token()
    with Network(world.server.port) as network:
        async with AsyncIntrospector(network.url, *world.client, cache=True) as ask:
            await warmed(ask, token)
            world.http.patch(f"/admin/users/{sub}", json={"roles": ["a"]}, auth=world.server.admin)
            await soon(lambda: ask.cached(token) is None)
            await warmed(ask, other)
            network.hold()
            older = asyncio.create_task(ask.introspect(token))
            await soon(lambda: network.held)
            await asyncio.to_thread(
                world.http.patch, f"/admin/users/{sub}", json={"roles": ["b"]}, auth=world.server.admin
            )
            await soon(lambda: ask.cached(other) is None)  # the SDK has heard of the change
            assert not older.done()
            network.hold(False)
            answer = await older
            assert isinstance(answer, Active)
            assert answer.has_role("a")
            assert ask.cached(token) is None
            await ask.introspect(token)
            assert isinstance(ask.cached(token), Active)


@pytest.mark.slow
async def test_changes_without_pause(world: World, ask: AsyncIntrospector) -> None:
    """Under constant changes and constant requests the cache never keeps an older answer."""
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

        await soon(knows)
        await warmed(ask, token)
        assert knows()
    going = False
    await asyncio.gather(*crowd)


async def test_inactive_answers_are_kept(world: World, ask: AsyncIntrospector) -> None:
    """A client that repeats a revoked or invented token causes no further requests."""
    world.user()
    revoked, invented = world.token(), tokens.new(Kind.ACCESS).text
    world.revoke(token=revoked)
    for token in (revoked, invented):
        await warmed(ask, token)
        assert ask.cached(token) is INACTIVE


@pytest.mark.slow
async def test_cached_use_counts(world: World) -> None:
    """A session with a short idle time stays alive while it is used, even if the cache answers most checks."""
    world.spoiled = True  # the sessions of later tests would end too early
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
    """A cached check costs little more than the digest of its token; docs/sdk.md has the measured figures."""
    world.user()
    token = world.token()
    await warmed(ask, token)
    cached = min(timeit.repeat(lambda: ask.cached(token), number=2000, repeat=25))
    digest = min(timeit.repeat(lambda: sha256(token.encode()).digest(), number=2000, repeat=25))
    in_time(cached, 5 * digest)


async def test_stale_needs_an_outage(world: World) -> None:
    """While the service can be reached, `serve_stale_for_s` changes nothing about a revocation."""
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
        with pytest.raises(Unavailable):  # an event dropped the answer, so the outage does not bring it back
            await ask.introspect(other)


async def test_stale_bridges_an_outage(world: World) -> None:
    """During an outage the SDK serves answers that held before it."""
    world.user()
    token, unknown = world.token(), world.token()
    async with AsyncIntrospector(world.server.url, *world.client, cache=True, serve_stale_for_s=600) as ask:
        answer = await warmed(ask, token)
        world.server.kill()
        await soon(lambda: ask.cached(token) is None)
        assert await ask.introspect(token) is answer
        with pytest.raises(Unavailable):
            await ask.introspect(unknown)


@pytest.mark.slow
def test_a_forked_child_listens_for_itself(world: World) -> None:
    """A child starts with an empty cache, follows the feed itself, and leaves its parent's feed alone."""
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
        os.close(writing)  # or a dead child would go unnoticed
        assert os.read(reading, 1)
        world.revoke(token=token)
        os.write(telling, b"x")
        until(lambda: ask.cached(token) is None)
        assert os.waitpid(child, 0)[1] == 0
        assert isinstance(ask.cached(kept), Active)
        began = time.monotonic()  # beyond the bound, the answer shows that the parent's feed goes on
        until(lambda: time.monotonic() > began + 2.5)
        assert isinstance(ask.cached(kept), Active)
        for descriptor in (reading, told, telling):
            os.close(descriptor)
