"""Exchanging tokens by the SDK, and how each change reaches a cached answer about an exchanged token."""

from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest
from authsvc_sdk import (
    INACTIVE,
    Active,
    AsyncIntrospector,
    Introspector,
    Misconfigured,
    Refused,
    Unavailable,
    exchange,
)

from tests.sdk.conftest import World
from tests.sdk.test_cached import soon, warmed
from tests.selection import one_in


class Chain(NamedTuple):
    """A user of an app, whose tokens `orders` exchanges for `billing`, and `billing` for `ledger`. ledger: asks."""

    sub: str
    app: str
    token: str
    orders: AsyncIntrospector
    billing: AsyncIntrospector
    ledger: AsyncIntrospector


@pytest.fixture
async def chain(world: World) -> AsyncIterator[Chain]:
    app, _ = _public(world, audience=["orders"], scope="read write")
    both = ("introspect", "exchange")
    orders = world.client_of(*both, audience=["orders"], exchange_audience=["billing"])
    billing = world.client_of(*both, audience=["billing"], exchange_audience=["ledger"])
    ledger = world.client_of("introspect")
    sub = world.user(roles=["editor"])
    token = world.token(client_id=app, scope="read write")
    url = world.server.url
    async with (
        AsyncIntrospector(url, *orders) as first,
        AsyncIntrospector(url, *billing) as second,
        AsyncIntrospector(url, *ledger, cache=True) as third,
    ):
        yield Chain(sub, app, token, first, second, third)


def _public(world: World, **fields: Any) -> tuple[str, None]:
    body = {"name": "an app", "public": True, **fields}
    answer = world.http.post("/admin/clients", json=body, auth=world.server.admin).raise_for_status()
    return answer.json()["client_id"], None


async def test_a_token_for_the_next_resource_server(chain: Chain) -> None:
    """It has the scope that was asked for, and its answer names the clients that act for the user."""
    child = await chain.orders.exchange(chain.token, audience="billing", scope="read")
    assert (child.scope, child.expires_in) == ("read", 900)
    assert child.token not in repr(child)
    assert (await chain.orders.exchange(chain.token, audience="billing", scope="read")).token == child.token
    second = await chain.billing.exchange(child.token, audience="ledger")
    answer = await chain.ledger.introspect(second.token)
    assert isinstance(answer, Active)
    assert (answer.sub, answer.scope, answer.aud) == (chain.sub, "read", ("ledger",))
    assert answer.roles == {"editor"}
    assert answer.token_use == "exchanged"
    assert answer.act is not None
    assert answer.client_id == answer.act["sub"]
    assert set(answer.clients) == {chain.app, answer.act["act"]["sub"]}
    with pytest.raises(TypeError):
        answer.act["sub"] = "another"  # type: ignore[index]


def test_from_threads(world: World) -> None:
    world.user()
    client = world.client_of("introspect", "exchange", exchange_audience=["billing"])
    with Introspector(world.server.url, *client) as introspector:
        child = introspector.exchange(world.token(), audience="billing")
        answer = introspector.introspect(child.token)
        assert isinstance(answer, Active)
        assert (answer.aud, child.scope) == (("billing",), "")


async def test_what_is_refused(world: World, chain: Chain) -> None:
    """A token that has ended is a 401, a scope that it lacks a 403. What our client may not do is a fault of ours."""
    with pytest.raises(Refused) as refused:
        await chain.orders.exchange(chain.token, audience="billing", scope="read payments")
    assert (refused.value.status, 'scope="read payments"' in refused.value.headers["WWW-Authenticate"]) == (403, True)
    with pytest.raises(Misconfigured, match="invalid_target"):
        await chain.orders.exchange(chain.token, audience="ledger")
    with pytest.raises(Misconfigured):
        await chain.ledger.exchange(chain.token)
    world.revoke(token=chain.token)
    for token in (chain.token, "tok_nonsense", "", None):
        with pytest.raises(Refused) as refused:
            await chain.orders.exchange(token, audience="billing")
        assert refused.value.status == 401
    world.server.kill()
    world.spoiled = True
    with pytest.raises(Unavailable):
        await chain.orders.exchange(chain.token)


async def test_a_failure_is_logged_once_a_minute(
    world: World, chain: Chain, now: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The log says why an exchange fails and which command allows it, once a minute."""
    for seconds in (0, 30, 31):
        now(seconds)
        with pytest.raises(Misconfigured):
            await chain.orders.exchange(chain.token, audience="ledger")
    with pytest.raises(Misconfigured):
        await chain.ledger.exchange(chain.token)
    assert [(record.name, record.levelname) for record in caplog.records] == [("authsvc_sdk", "ERROR")] * 3
    texts = [record.getMessage() for record in caplog.records]
    assert "invalid_target" in texts[0]
    assert "'ledger'" in texts[0]
    assert "`authsvc client update ID --exchange-audience NAME`" in texts[0]
    assert "`authsvc client update ID --permission exchange`" in texts[2]
    caplog.clear()
    world.server.kill()
    world.spoiled = True
    with pytest.raises(Unavailable):
        await chain.orders.exchange(chain.token)
    assert "requests that exchange a token get a 503. Check that the service runs" in caplog.text
    assert chain.token not in caplog.text + "".join(texts)


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        None,
        {"access_token": 1, "token_type": "Bearer", "expires_in": 1},
        {"access_token": "tok_"},
        {"error": 1},
    ],
)
def test_no_token(body: object) -> None:
    """An answer that is no answer of the service gives no token."""
    with pytest.raises(Unavailable):
        exchange.read(body, "")


def _revoked(token: Callable[[Chain, str, str], str]) -> Callable[[World, Chain, str, str], dict[str, str]]:
    return lambda world, chain, first, second: {"token": token(chain, first, second)}


def _client(of: Callable[[Chain], str]) -> Callable[[World, Chain, str, str], dict[str, str]]:
    return lambda world, chain, first, second: {"client_id": of(chain)}


ENDS: dict[str, Callable[[World, Chain, str, str], dict[str, str]]] = {
    "the token": _revoked(lambda chain, first, second: second),
    "the token before": _revoked(lambda chain, first, second: first),
    "the session": _revoked(lambda chain, first, second: chain.token),
    "the user": lambda world, chain, first, second: {"sub": chain.sub},
    "the app": _client(lambda chain: chain.app),
    "the first exchanger": _client(lambda chain: chain.orders._config.client_id),
    "the second exchanger": _client(lambda chain: chain.billing._config.client_id),
    "everything": lambda world, chain, first, second: {"all": "true"},
}


@pytest.mark.parametrize("end", one_in(6, ENDS))
async def test_each_end_reaches_the_cache(world: World, chain: Chain, end: str) -> None:
    """Whatever an exchanged token depends on: its end drops the cached answer at once, long before its `recheck_at`."""
    first = (await chain.orders.exchange(chain.token, audience="billing")).token
    second = (await chain.billing.exchange(first, audience="ledger")).token
    assert isinstance(await warmed(chain.ledger, second), Active)
    assert isinstance(chain.ledger.cached(second), Active)
    world.revoke(**ENDS[end](world, chain, first, second))
    await soon(lambda: chain.ledger.cached(second) is None)
    assert await chain.ledger.introspect(second) is INACTIVE


async def test_its_session_stays_cached(world: World, chain: Chain) -> None:
    """The end of an exchanged token leaves the session active: its answer is asked for again and kept."""
    first = (await chain.orders.exchange(chain.token, audience="billing")).token
    await warmed(chain.ledger, chain.token)
    await warmed(chain.ledger, first)
    world.revoke(token=first)
    await soon(lambda: chain.ledger.cached(first) is None)
    assert isinstance(await warmed(chain.ledger, chain.token), Active)
    assert await chain.ledger.introspect(first) is INACTIVE


async def test_a_stream_ends_with_the_app(world: World, chain: Chain) -> None:
    """The watch of a stream covers the further clients too."""
    first = (await chain.orders.exchange(chain.token, audience="billing")).token
    await warmed(chain.ledger, first)

    async def stream() -> None:
        async with chain.ledger.while_active(first):
            world.revoke(client_id=chain.app)
            await soon(lambda: False)

    with pytest.raises(Refused) as refused:
        await stream()
    assert refused.value.status == 401
