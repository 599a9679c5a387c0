"""Streams and WebSockets end with the session of their token: a real server, a real service, real clients."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from authsvc_sdk import AsyncIntrospector, Refused

from tests.conftest import bearer
from tests.sdk.conftest import World
from tests.sdk.test_examples import Start, start  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow

client = pytest.importorskip("websockets.asyncio.client", reason="the package websockets is missing")

# From the acknowledgement of a revocation to the end of the stream. The bound of the cache is 2 s.
SOON_S = 1.5
SERVER = ("uvicorn", "--log-level", "warning", "--port", "{port}", "examples.stream_app:app")


@pytest.fixture
def api(start: Start) -> httpx.Client:  # noqa: F811
    return start(*SERVER)


def end_session(world: World, how: str, sub: str, token: str) -> None:
    """End the session in one of the ways that there are."""
    if how == "token":
        world.revoke(token=token)
    elif how == "user":
        world.revoke(sub=sub)
    elif how == "suspension":
        body = {"status": "suspended"}
        world.http.patch(f"/admin/users/{sub}", json=body, auth=world.server.admin).raise_for_status()
    elif how == "client":
        world.revoke(client_id="app")
    else:
        world.revoke(all="true")


WAYS = ["token", "user", "suspension", "client", "all"]


@asynccontextmanager
async def connected(api: httpx.Client, token: str) -> AsyncIterator[Any]:
    url = str(api.base_url).replace("http:", "ws:") + "/echo"
    async with client.connect(url, additional_headers=bearer(token)) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
        yield socket


@pytest.mark.parametrize("how", WAYS)
async def test_a_websocket_ends_with_its_session(world: World, api: httpx.Client, how: str) -> None:
    """The end of a session closes its WebSocket with code 1008, however the session ended, and no other WebSocket."""
    sub, token = world.user(), world.token()
    world.user("grace")
    async with connected(api, token) as socket, connected(api, world.token("grace")) as other:
        await asyncio.to_thread(end_session, world, how, sub, token)
        async with asyncio.timeout(SOON_S):
            await socket.wait_closed()
        assert socket.close_code == 1008
        if how not in ("client", "all"):
            await other.send("still here")
            assert await other.recv() == "still here"


@pytest.mark.parametrize("how", WAYS)
async def test_a_stream_ends_with_its_session(world: World, api: httpx.Client, how: str) -> None:
    """The end of a session ends its stream of events, and the next request is a 401."""
    sub, token = world.user(), world.token()
    async with (
        httpx.AsyncClient(base_url=api.base_url, timeout=10) as http,
        http.stream("GET", "/ticks", headers=bearer(token)) as stream,
    ):
        lines = stream.aiter_lines()
        assert await anext(lines) == "data: for ada"
        await asyncio.to_thread(end_session, world, how, sub, token)
        async with asyncio.timeout(SOON_S):
            async for _ in lines:
                pass
        assert (await http.get("/ticks", headers=bearer(token))).status_code == 401


async def test_an_outage_is_no_logout(world: World, api: httpx.Client) -> None:
    """When the service can't tell any more, the WebSocket is closed with code 1013 (try again later)."""
    world.user()
    world.spoiled = True
    async with connected(api, world.token()) as socket:
        world.server.kill()
        async with asyncio.timeout(10):
            await socket.wait_closed()
        assert socket.close_code == 1013


@pytest.mark.parametrize("settings", [{"cache": True, "feed_silence_s": 60.0}, {}], ids=["the feed", "no cache"])
async def test_the_body_is_cancelled(world: World, settings: dict[str, Any]) -> None:
    """`while_active` cancels its body when the token ends, and raises Refused."""
    world.user()
    token = world.token()
    interrupted = False
    async with AsyncIntrospector(world.server.url, *world.client, **settings) as introspector:

        async def body() -> None:
            nonlocal interrupted
            async with introspector.while_active(token) as user:
                assert user.username == "ada"
                await until_held(introspector, token)
                try:
                    await asyncio.to_thread(world.revoke, token=token)
                    await asyncio.sleep(10)
                except asyncio.CancelledError:
                    interrupted = True
                    raise

        with pytest.raises(Refused, match="not active") as refused:
            await body()
        assert interrupted
        assert refused.value.status == 401
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        with pytest.raises(Refused):
            await introspector.while_active(token).__aenter__()


async def until_held(introspector: AsyncIntrospector, token: str) -> None:
    """With a cache, wait until the answer is in it, so that only an announcement can end the stream."""
    while introspector._cache is not None and introspector.cached(token) is None:
        await introspector.introspect(token)
        await asyncio.sleep(0.02)


async def test_a_body_that_ends_first(world: World) -> None:
    """A body that fails or takes too long raises its own error and leaves no task and no waiting stream behind."""
    world.user()
    token = world.token()
    async with AsyncIntrospector(world.server.url, *world.client, cache=True) as introspector:
        before = len(asyncio.all_tasks())

        async def body(*, fails: bool) -> None:
            async with introspector.while_active(token):
                await until_held(introspector, token)
                if fails:
                    raise ValueError("mine")
                await asyncio.sleep(60)

        with pytest.raises(ValueError, match="mine"):
            await body(fails=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(body(fails=False), 0.2)
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) <= before
        assert introspector._cache is not None
        assert not introspector._cache._streams


async def test_another_cancellation_wins(world: World) -> None:
    """A task that somebody else cancels ends as cancelled."""
    world.user()
    token = world.token()
    async with AsyncIntrospector(world.server.url, *world.client, cache=True) as introspector:
        entered = asyncio.Event()

        async def body() -> None:
            async with introspector.while_active(token):
                entered.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(body())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
