"""Storing many users at once: each is stored wholly or not at all, and an interrupted batch blocks no name."""

from collections.abc import Sequence
from typing import Any

import pytest
import redis

from authsvc.core.user import Credentials
from authsvc.core.user_import import ImportedUser
from authsvc.driver.connection import Connection
from authsvc.driver.scripts import Command
from authsvc.errors import StoreUnavailable
from authsvc.flows import users
from authsvc.flows.deps import OPERATOR, Deps
from authsvc.store.bulk_users import BulkInsert, InsertOutcome, NewUser
from tests.conftest import PASSWORD, Clock
from tests.flows.conftest import World, world_of

HASH = "$2b$04$CcZH0hwSn2aEUf2CT5pLeueM03Ar2owFpvKekovANq6l3zYL0wC6K"
CREATED, THERE, NAME, SUB = (
    InsertOutcome.CREATED,
    InsertOutcome.THERE,
    InsertOutcome.NAME_TAKEN,
    InsertOutcome.SUB_TAKEN,
)


def arrival(clock: Clock, made_up: str, **fields: Any) -> NewUser:
    """made_up: the sub of a row without one."""
    imported = ImportedUser.of({"password_hash": HASH} | fields, clock.now)
    user = imported.user(imported.sub or made_up, clock.now)
    return NewUser(imported.canonical, user, imported.credentials(clock.now), own_sub=imported.sub is not None)


def people(clock: Clock, prefix: str = "s", names: Sequence[str] = ("ada", "Bea", "cyn")) -> list[NewUser]:
    return [arrival(clock, f"{prefix}{at}", username=name) for at, name in enumerate(names)]


@pytest.fixture
async def world(deps: Deps) -> World:
    return await world_of(deps)


async def test_stored_users_are_there(world: World, clock: Clock) -> None:
    """Stored users are found by name and by sub, with credentials. A second batch of the same users changes nothing."""
    bulk = world.deps.store.bulk
    assert await bulk.look(people(clock)) == [CREATED] * 3
    assert await bulk.add(people(clock)) == [CREATED] * 3
    found = await world.deps.store.users.find_by_name("bea")
    assert found is not None
    assert found[0].username == "Bea"
    assert found[1] == Credentials(hash=HASH, changed_at=int(clock.now))
    assert await bulk.add(people(clock, "t")) == [THERE] * 3 == await bulk.look(people(clock, "t"))
    assert await world.deps.store.users.find("t0") is None


async def test_nobody_is_overwritten(world: World, clock: Clock) -> None:
    """A batch replaces no stored user, found by name, by sub or by both. Refused users leave no name taken."""
    bulk = world.deps.store.bulk
    ada = await world.user("Ada")
    both = [
        arrival(clock, "x", username="ada"),
        arrival(clock, "-", username="zoe", sub=ada.sub),
        arrival(clock, "-", sub=ada.sub, password_hash=None),
    ]
    assert await bulk.look(both) == [NAME, SUB, SUB]
    assert await bulk.add(both) == [NAME, SUB, SUB]
    assert await world.deps.store.users.find(ada.sub) == ada
    await world.login("ada", PASSWORD)
    assert await world.user("zoe")


async def test_a_renamed_user_keeps_the_name(world: World, clock: Clock, valkey: "redis.Redis") -> None:
    """A user who took the same name once more keeps it, though the entry in the index is another one."""
    bulk = world.deps.store.bulk
    ada = await world.user("ada")
    await users.update(world.deps, OPERATOR, ada.sub, username="Ada")
    assert valkey.get("login:ada") != ada.sub.encode()
    other, same = arrival(clock, "x", username="ada"), arrival(clock, "-", username="ada", sub=ada.sub)
    assert await bulk.look([other]) == [NAME] == await bulk.look([same])
    assert await bulk.add([other]) == [NAME] == await bulk.add([same])
    assert (await world.me(await world.login("ada"))).user.sub == ada.sub


async def test_a_changed_row_is_not_there_already(world: World, clock: Clock) -> None:
    """A login since the import leaves a user the same. Other roles or another password make another user."""
    bulk = world.deps.store.bulk
    assert await bulk.add([arrival(clock, "a", username="ada", roles=["x"])]) == [CREATED]
    again = arrival(clock, "b", username="ada", roles=["x"])
    await world.deps.store.credentials.change("a", lambda held: held.but(hash="$argon2id$v=19$renewed"))
    assert await bulk.add([again]) == [THERE]
    assert await bulk.add([arrival(clock, "b", username="ada", roles=["y"])]) == [NAME]
    await world.deps.store.credentials.change("a", lambda held: held.but(hash=HASH[:-1] + "L"))
    assert await bulk.add([again]) == [NAME]


async def test_without_a_name(world: World, clock: Clock) -> None:
    """A user without a name, who logs in elsewhere, is stored under the sub alone."""
    nameless = arrival(clock, "-", sub="auth0|1", password_hash=None)
    assert await world.deps.store.bulk.add([nameless]) == [CREATED]
    assert await world.deps.store.bulk.add([nameless]) == [THERE]
    assert await world.deps.store.users.find("auth0|1") == nameless.user


class _Breaking(Connection):
    """Fails at the given round trip, before or after the store has executed the commands."""

    def __init__(self, url: str, at: int, *, done: bool) -> None:
        super().__init__(url)
        self._left, self._done = at, done

    async def batch(self, commands: Sequence[Command]) -> list[Any]:
        self._left -= bool(commands)
        if self._left == 0:
            if self._done:
                await super().batch(commands)
            raise StoreUnavailable("broken off")
        return await super().batch(commands)


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("then", ["import", "register", "again"])
async def test_an_interrupted_batch_leaves_nothing_half_made(
    world: World, valkey_url: str, clock: Clock, at: int, done: bool, then: str
) -> None:
    """After a failure at any round trip, stored users can log in, other names are free, and nobody is stored twice."""
    store = world.deps.store
    breaking = _Breaking(valkey_url, at, done=done)
    with pytest.raises(StoreUnavailable):
        await BulkInsert(breaking).add(people(clock))
    await breaking.close()
    found = [await store.users.find_by_name(name) for name in ("ada", "bea", "cyn")]
    assert all(one is None or (one[1] is not None and one[1].hash == HASH) for one in found)
    whole = at == 3 or (at == 2 and done)
    assert [one is not None for one in found] == [whole] * 3
    if then == "import":  # from another process
        assert await store.bulk.add(people(clock, "t")) == [THERE if whole else CREATED] * 3
    elif then == "again":  # from the same process
        assert await store.bulk.add(people(clock)) == [CREATED] * 3
    elif not whole:
        for name in ("ada", "bea", "cyn"):
            await world.user(name)
    users = [user async for user in store.listing.every_user()]
    assert sorted(user.username or "" for user in users) == (
        ["Bea", "ada", "cyn"] if whole or then != "register" else ["ada", "bea", "cyn"]
    )


async def test_a_name_that_is_registered_meanwhile(world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until its user is stored, an index entry names nobody, and another user may take it and keep it."""
    bulk = world.deps.store.bulk
    store = bulk._store

    async def slowly(*given: Any) -> Any:
        await world.user("ada")
        return await store(*given)

    monkeypatch.setattr(bulk, "_store", slowly)
    assert await bulk.add(people(clock)) == [NAME, CREATED, CREATED]
    await world.login("ada", PASSWORD)
    assert await world.deps.store.users.find("s0") is None
    assert await world.deps.store.credentials.find("s0") is None


async def test_a_user_takes_three_commands(world: World, clock: Clock, valkey: "redis.Redis", shape: str) -> None:
    """A user takes three commands: take the name, store the user with the credentials, check the name."""
    if shape == "cluster":
        pytest.skip("commands are counted on one server")
    before = valkey.info("commandstats")
    await world.deps.store.bulk.add(people(clock, names=[f"user{at}" for at in range(50)]))
    after = valkey.info("commandstats")
    for command, times in {"set": 50, "msetnx": 50, "get": 50, "mget": 0, "eval": 0}.items():
        name = f"cmdstat_{command}"
        assert after.get(name, {"calls": 0})["calls"] - before.get(name, {"calls": 0})["calls"] == times
