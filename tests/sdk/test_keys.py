"""Keys in the SDK: what it tells of them, and how each change reaches a cached answer about a key."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from authsvc_sdk import INACTIVE, Active, AsyncIntrospector, Introspector

from tests.conftest import bearer
from tests.sdk.conftest import World
from tests.sdk.test_cached import soon, warmed
from tests.selection import one_in, slow


class Holder:
    """A user with a session and a key."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sub = world.user(roles=["editor"])
        self.token = world.token()
        self.key, self.key_id = self.make(name="backup")

    def make(self, **body: Any) -> tuple[str, str]:
        answer = self.world.http.post("/keys", json=body, headers=bearer(self.token)).raise_for_status()
        return answer.json()["key"], answer.json()["key_id"]

    def own(self, method: str, path: str, **request: Any) -> None:
        self.world.http.request(method, path, headers=bearer(self.token), **request).raise_for_status()

    def admin(self, method: str, path: str, **request: Any) -> None:
        self.world.http.request(method, path, auth=self.world.server.admin, **request).raise_for_status()


@pytest.fixture
def holder(world: World) -> Holder:
    return Holder(world)


@pytest.fixture
async def ask(world: World) -> AsyncIterator[AsyncIntrospector]:
    async with AsyncIntrospector(world.server.url, *world.client, cache=True) as introspector:
        yield introspector


async def test_what_the_sdk_tells_of_a_key(holder: Holder, ask: AsyncIntrospector) -> None:
    """It is the user's, with the user's roles, and no login."""
    user = await ask.introspect(holder.key)
    assert isinstance(user, Active)
    assert (user.token_use, user.sub, user.session_id) == ("key", holder.sub, holder.key_id)
    assert user.roles == {"editor"}
    assert (user.auth_time, user.acr) == (None, None)
    with Introspector(holder.world.server.url, *holder.world.client) as synchronous:
        assert synchronous.introspect(holder.key) == user
        assert synchronous.introspect(holder.key[:-1]) is INACTIVE


ENDS: dict[str, Callable[[Holder], None]] = {
    "revoked": lambda h: h.own("DELETE", f"/keys/{h.key_id}"),
    "rotated": lambda h: h.own("POST", f"/keys/{h.key_id}/rotate", json={"overlap_s": 0}),
    "revoked by its text": lambda h: h.world.revoke(token=h.key),
    "everywhere": lambda h: h.own("DELETE", "/sessions?all=true"),
    "all keys": lambda h: h.admin("DELETE", f"/admin/users/{h.sub}/keys"),
    "suspended": lambda h: h.admin("PATCH", f"/admin/users/{h.sub}", json={"status": "suspended"}),
    "deleted": lambda h: h.admin("DELETE", f"/admin/users/{h.sub}"),
    "the client": lambda h: h.world.revoke(client_id="app"),
}


@pytest.mark.parametrize("end", one_in(3, ENDS))
async def test_each_end_reaches_the_cache(holder: Holder, ask: AsyncIntrospector, end: str) -> None:
    """The cached answer about a key is dropped, as that of a session is."""
    assert await warmed(ask, holder.key) is not None
    ENDS[end](holder)
    await soon(lambda: ask.cached(holder.key) is None)
    assert await ask.introspect(holder.key) is INACTIVE


@pytest.mark.parametrize("number", [10, slow(100)])
async def test_a_revoked_key_is_refused_in_every_cache(world: World, holder: Holder, number: int) -> None:
    """All resource servers refuse the key once its revocation is announced."""
    async with AsyncExitStack() as stack:
        asking = [
            await stack.enter_async_context(AsyncIntrospector(world.server.url, *world.client, cache=True))
            for _ in range(number)
        ]
        for one in asking:
            assert await warmed(one, holder.key) is not None
        ENDS["revoked"](holder)
        await soon(lambda: not any(isinstance(one.cached(holder.key), Active) for one in asking))
        assert [await one.introspect(holder.key) for one in asking] == [INACTIVE] * number


async def test_a_logout_leaves_the_key_cached(holder: Holder, ask: AsyncIntrospector) -> None:
    """The end of the session that made the key is no change of the key."""
    assert await warmed(ask, holder.key) is not None
    assert await warmed(ask, holder.token) is not None
    holder.own("POST", "/logout")
    await soon(lambda: ask.cached(holder.token) is None)
    assert isinstance(ask.cached(holder.key), Active)


async def test_a_key_with_networks_is_not_cached(holder: Holder, ask: AsyncIntrospector) -> None:
    """The SDK sends no address, so such a key is inactive for it."""
    key, _ = holder.make(name="office", networks=["127.0.0.0/8"])
    assert await ask.introspect(key) is INACTIVE
    asked = {"token": key, "ip": "127.0.0.1"}
    answer = holder.world.http.post("/introspect", data=asked, auth=holder.world.client).json()
    assert answer["active"]
    assert not {"recheck_at", "cache"} & answer.keys()


async def test_foreign_keys_take_a_setting(world: World) -> None:
    """Without the prefix no request is made; with it, the service is asked."""
    text = "sk_live_51H8xQ2eZvKYlo2C"
    async with (
        AsyncIntrospector("http://127.0.0.1:9", *world.client) as without,
        AsyncIntrospector(world.server.url, *world.client, foreign_key_prefixes=("sk_live_",)) as knowing,
    ):
        assert await without.introspect(text) is INACTIVE
        assert without.cached(text) is INACTIVE
        assert knowing.cached(text) is None
        assert await knowing.introspect(text) is INACTIVE
