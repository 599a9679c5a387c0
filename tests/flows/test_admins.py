"""The index of admins lists every admin. An entry counts only with its record, and no change needs a walk."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from authsvc.composition import open_deps
from authsvc.core.user import ADMIN_ROLE, Credentials, User
from authsvc.driver.deadline import current_budget
from authsvc.errors import LastAdmin, UsernameTaken
from authsvc.flows import bootstrap, clients, indexes, issue, users
from authsvc.flows.deps import OPERATOR, Deps
from authsvc.settings import Settings
from authsvc.store.admin_entries import SETTLED_S
from authsvc.store.admins import PAGE
from authsvc.store.bulk_users import NewUser
from authsvc.store.keys import ADMINS, ADMINS_FILLED, ADMINS_FILLING
from tests.conftest import PATIENT, Clock, Service, bearer
from tests.flows.conftest import HERE, World
from tests.flows.contents import Commands

WRITERS = [
    *("create user", "give the role", "give the role with a name", "issue", "issue again", "import"),
    *("create client", "give the permission", "first start"),
]


def entries(valkey: "redis.Redis") -> set[str]:
    found: list[bytes] = valkey.zrange(ADMINS, 0, -1)  # type: ignore[assignment]  # redis-py names every possible type
    return {entry.decode() for entry in found}


def imported(sub: str) -> NewUser:
    user = User(sub=sub, username=sub, roles=(ADMIN_ROLE,), epoch=1, created_at=1)
    return NewUser(sub, user, Credentials(), own_sub=True)


async def make(world: World, how: str) -> str:
    """Make an admin. The entry that the index should have."""
    deps = world.deps
    if how == "create user":
        return f"user:{(await world.user(roles=(ADMIN_ROLE,))).sub}"
    if how.startswith("give the role"):
        sub = (await world.user()).sub
        name = "bea" if how.endswith("name") else None
        await users.update(deps, OPERATOR, sub, roles=("ops", ADMIN_ROLE), username=name)
        return f"user:{sub}"
    if how.startswith("issue"):
        issuer = await world.client("issue", "vouch", "admin")
        for roles in [(), (ADMIN_ROLE,)] if how.endswith("again") else [(ADMIN_ROLE,)]:
            await issue.issue(deps, HERE, issuer, sub="far|1", roles=roles)
        return "user:far|1"
    if how == "import":
        await deps.store.bulk.add([imported("u1")])
        return "user:u1"
    if how == "create client":
        return f"client:{(await world.client('admin')).client_id}"
    if how == "give the permission":
        client = await world.client("issue")
        await clients.update(deps, OPERATOR, client.client_id, permissions=("admin",))
        return f"client:{client.client_id}"
    await deps.store.connection.delete("service")
    made = await bootstrap.first_start(deps)
    assert made is not None
    return f"client:{made[0]}"


@pytest.mark.parametrize("how", WRITERS)
async def test_every_new_admin_is_in_the_index(world: World, valkey: "redis.Redis", how: str) -> None:
    """Each way of making an admin enters the admin into the index. The entry outlives a suspension."""
    entry = await make(world, how)
    assert entry in entries(valkey)
    if entry.startswith("user:"):
        await world.client("admin")
        sub = entry.removeprefix("user:")
        await users.update(world.deps, OPERATOR, sub, status="suspended")
        await users.update(world.deps, OPERATOR, sub, status="active")
    assert entry in entries(valkey)


async def test_the_entry_comes_before_the_record(world: World, valkey: "redis.Redis") -> None:
    """An admin whose record is not written is in the index all the same: a crash in between loses nobody."""
    await world.user("ada")
    before = entries(valkey)
    with pytest.raises(UsernameTaken):
        await world.user("ada", roles=(ADMIN_ROLE,))
    assert len(entries(valkey) - before) == 1
    ada = await world.deps.store.users.find_by_name("ada")
    assert ada is not None
    assert f"user:{ada[0].sub}" not in entries(valkey)


async def test_other_records_cost_nothing(world: World, valkey: "redis.Redis") -> None:
    """Users, sessions and changes of an admin leave the index alone."""
    root = await world.user("root", roles=(ADMIN_ROLE,))
    await world.client("admin")
    valkey.zadd(ADMINS, dict.fromkeys(entries(valkey), 1))
    before = valkey.zrange(ADMINS, 0, -1, withscores=True)
    await world.user("ada")
    await world.login("ada")
    await users.update(world.deps, OPERATOR, root.sub, status="suspended")
    assert valkey.zrange(ADMINS, 0, -1, withscores=True) == before


async def test_a_stale_entry_counts_for_nobody_and_goes(world: World, valkey: "redis.Redis") -> None:
    """Nobody without power counts as another admin. The entry goes once its record had the time to be written."""
    valkey.delete(ADMINS)
    root = await world.user("root", roles=(ADMIN_ROLE,))
    ada = await world.user("ada")
    now = int(time.time())
    valkey.zadd(ADMINS, {f"user:{ada.sub}": now - 2 * SETTLED_S, "client:gone": now - 2 * SETTLED_S, "user:new": now})
    with pytest.raises(LastAdmin):
        await users.delete(world.deps, OPERATOR, root.sub)
    assert entries(valkey) == {f"user:{root.sub}", "user:new"}


async def test_an_admin_behind_many_pages_is_found(world: World, valkey: "redis.Redis") -> None:
    """The search goes on through all pages, and each removed entry shifts no other out of them."""
    valkey.delete(ADMINS)
    root = await world.user("root", roles=(ADMIN_ROLE,))
    other = await world.user("other", roles=(ADMIN_ROLE,))
    valkey.zadd(ADMINS, {f"user:{other.sub}": 1} | {f"user:gone{n}": 2 for n in range(5 * PAGE)})
    await users.delete(world.deps, OPERATOR, root.sub)
    with pytest.raises(LastAdmin):
        await users.delete(world.deps, OPERATOR, other.sub)
    assert entries(valkey) <= {f"user:{other.sub}", f"user:{root.sub}"}


async def test_an_unreadable_admin_is_no_obstacle(world: World, valkey: "redis.Redis") -> None:
    """A record that this version can't read counts for nobody, keeps its entry, and fails no change of others."""
    root = await world.user("root", roles=(ADMIN_ROLE,))
    for sub, raw in (("next", b'{"v":99,"roles":["admin"]}'), ("broken", b'"admin"')):
        valkey.set(f"user:{{{sub}}}", raw)
        valkey.zadd(ADMINS, {f"user:{sub}": 1})
    with pytest.raises(LastAdmin):
        await users.delete(world.deps, OPERATOR, root.sub)
    assert {"user:next", "user:broken"} <= entries(valkey)
    await world.user("other", roles=(ADMIN_ROLE,))
    await users.delete(world.deps, OPERATOR, root.sub)


def forget_the_index(valkey: "redis.Redis") -> None:
    """Leave the store as a version without the index leaves it."""
    valkey.delete(ADMINS)
    valkey.delete(ADMINS_FILLED)


async def test_a_store_from_before_the_index(world: World, valkey: "redis.Redis") -> None:
    """Without an index, a walk finds the other admins, and enters them. The next change needs no walk."""
    root = await world.user("root", roles=(ADMIN_ROLE,))
    other = await world.client("admin")
    forget_the_index(valkey)
    await users.update(world.deps, OPERATOR, root.sub, status="suspended")
    assert entries(valkey) == {f"user:{root.sub}", f"client:{other.client_id}"}
    assert valkey.exists(ADMINS_FILLED)


async def test_a_walk_that_takes_too_long_is_cannot_know(
    service: Service, valkey: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the index is being filled, an admin in it is enough. Otherwise the answer is 503 and says why."""
    root = await service.user("root", roles=(ADMIN_ROLE,))
    login = await service.login("root")
    await service.deps.store.clients.delete(service.admin[0])
    forget_the_index(valkey)
    fill = service.deps.store.admins.fill

    async def late(now: float) -> None:
        budget = current_budget()
        assert budget is not None
        budget.left_s = 0
        await fill(now)

    monkeypatch.setattr(service.deps.store.admins, "fill", late)
    path, headers = f"/admin/users/{root.sub}", bearer(login["access_token"])
    answer = await service.http.delete(path, headers=headers)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "index of admins" in answer.json()["error_description"]
    assert await service.deps.store.users.get(root.sub) == root
    await service.user("other", roles=(ADMIN_ROLE,))
    assert (await service.http.delete(path, headers=headers)).status_code == 204
    assert not valkey.exists(ADMINS_FILLED)


@pytest.fixture
async def another_worker(deps: Deps, valkey_url: str, clock: Clock, settings: Settings) -> AsyncIterator[Deps]:
    async with open_deps(settings, valkey_url, clock, timeouts=PATIENT) as parts:
        yield parts


async def test_each_start_fills_the_index(
    world: World, another_worker: Deps, valkey: "redis.Redis", clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several workers one fills the index. A later start fills it again, for admins that an older version made."""
    monkeypatch.setattr(indexes, "LOOK_AGAIN_S", 0.01)
    root = await world.user("root", roles=(ADMIN_ROLE,))
    forget_the_index(valkey)
    await asyncio.gather(indexes.fill_admins(world.deps), indexes.fill_admins(another_worker))
    assert entries(valkey) == {f"user:{root.sub}"}
    assert not valkey.exists(ADMINS_FILLING)
    valkey.delete(ADMINS)
    await indexes.fill_admins(world.deps)  # a worker of the same start
    assert entries(valkey) == set()
    clock.forward(1)
    await indexes.fill_admins(world.deps)
    assert entries(valkey) == {f"user:{root.sub}"}


async def test_a_worker_that_dies_while_it_fills_the_index(
    world: World, valkey: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker waits for the lease of the dead one, and then fills the index."""
    monkeypatch.setattr(indexes, "LOOK_AGAIN_S", 0.01)
    root = await world.user("root", roles=(ADMIN_ROLE,))
    forget_the_index(valkey)
    assert await world.deps.store.admins.lease.take()
    filling = asyncio.create_task(indexes.fill_admins(world.deps))
    await asyncio.sleep(0.1)
    assert entries(valkey) == set()
    assert 0 < valkey.ttl(ADMINS_FILLING) <= 30
    valkey.delete(ADMINS_FILLING)  # as its TTL does
    await filling
    assert entries(valkey) == {f"user:{root.sub}"}


async def power_taken(service: Service, name: str) -> list[int]:
    """The statuses of suspending, demoting and deleting admins, users and clients, over HTTP."""
    subs = [(await service.user(f"{name}{n}", roles=(ADMIN_ROLE,))).sub for n in range(3)]
    ids = [(await service.client("admin"))[0].client_id for _ in range(2)]
    paths = [*(f"/admin/users/{sub}" for sub in subs), *(f"/admin/clients/{id_}" for id_ in ids)]
    changes: list[dict[str, Any] | None] = [{"status": "suspended"}, {"roles": []}, None, {"permissions": []}, None]
    statuses = []
    for path, change in zip(paths, changes, strict=True):
        http, auth = service.http, service.admin
        answer = await (http.patch(path, json=change, auth=auth) if change else http.delete(path, auth=auth))
        statuses.append(answer.status_code)
    return statuses


@pytest.mark.slow
async def test_taking_power_away_needs_no_walk(service: Service, valkey: "redis.Redis", commands: Commands) -> None:
    """No admin is protected by the number of keys: with many keys, each change costs the same few commands."""
    await service.deps.store.admins.fill(service.deps.clock())
    seen = []
    for name in ("few", "many"):
        commands.reset()
        assert await power_taken(service, name) == [200, 200, 204, 200, 204]
        seen.append(commands.seen())
        with valkey.pipeline(transaction=False) as pipeline:
            for number in range(50_000):
                pipeline.set(f"session:{number:012d}", "{}")
            pipeline.execute()
    few, many = seen
    assert "scan" not in few
    assert "scan" not in many
    assert many["zrange"] == few["zrange"]
    assert many["get"] <= few["get"] + 5 * 5  # the entries that the first round left
