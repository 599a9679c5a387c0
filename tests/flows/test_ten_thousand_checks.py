"""Ten thousand checks of a program's token only read, through every call that checks tokens."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
import redis

from tests.conftest import Clock, Service, bearer
from tests.flows.contents import Commands
from tests.flows.test_client_token import issued as client_token
from tests.flows.test_exchange import exchanged
from tests.selection import slow

# The time passes in steps, each with so many checks of each kind.
STEPS, IN_BATCH, ALONE, AT_GATEWAYS = 10, 960, 20, 20


@dataclass(frozen=True, slots=True)
class Checked:
    """A token that is checked for so many seconds. noted: how many of these uses are written down."""

    text: str
    seconds: int = 890
    noted: int = 0


async def session(service: Service) -> Checked:
    await service.user()
    return Checked((await service.login())["access_token"])


async def key(service: Service) -> Checked:
    user = await service.user()
    made = await service.http.post(f"/admin/users/{user.sub}/keys", json={"name": "backup"}, auth=service.admin)
    return Checked(made.json()["key"], seconds=3590, noted=1)


async def service_token(service: Service) -> Checked:
    _, auth = await service.client("token", audience=("orders",))
    return Checked(await client_token(service, auth))


async def exchanged_token(service: Service) -> Checked:
    _, auth = await service.client("exchange", "introspect", audience=("orders",), exchange_audience=("billing",))
    app, _ = await service.client(public=True, audience=("orders",))
    await service.user()
    token = (await service.login(client_id=app.client_id))["access_token"]
    return Checked(await exchanged(service, auth, token, audience="billing"))


@pytest.mark.parametrize("make", [session, slow(key), slow(service_token), slow(exchanged_token)])
async def test_checks_write_nothing_but_the_last_use(
    service: Service,
    clock: Clock,
    valkey: "redis.Redis",
    commands: Commands,
    make: Callable[[Service], Awaitable[Checked]],
) -> None:
    """The store sees no command that writes. The use of a key is noted at first, and then once an hour."""
    checked = await make(service)
    writing = {name for name, command in valkey.command().items() if "write" in command["flags"]}
    assert {"set", "del", "zadd", "xadd", "pexpireat"} <= writing
    commands.reset()
    for _ in range(STEPS):
        batch = await service.http.post(
            "/introspect/batch", json={"tokens": [checked.text] * IN_BATCH}, auth=service.admin
        )
        assert [one["active"] for one in batch.json()] == [True] * IN_BATCH
        for _ in range(ALONE):
            assert await service.active(checked.text)
        for _ in range(AT_GATEWAYS):
            assert (await service.http.get("/verify", headers=bearer(checked.text))).status_code == 200
        await service.deps.store.sessions.finish()
        clock.forward(checked.seconds / STEPS)
    written = {name: calls for name, calls in commands.seen().items() if name in writing}
    assert written == ({"set": checked.noted} if checked.noted else {})
