"""Administering users."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from authsvc.core.user import Credentials, User
from authsvc.errors import InvalidCredentials, InvalidRequest, LastAdmin, NotFound, TooManyChanges, UsernameTaken
from authsvc.flows import clients, users
from authsvc.flows.deps import OPERATOR
from authsvc.store import keys as store_keys
from authsvc.store.admins import Admin
from tests.conftest import PASSWORD, Clock, Service
from tests.flows.conftest import World
from tests.flows.contents import expire, keys

ADA = "/admin/users"


async def test_create(service: Service, clock: Clock) -> None:
    """The answer is 201 with the user as stored.

    Without a password it also has a reset code, which is shown only here.
    """
    body = {"username": "Ada", "password": PASSWORD, "roles": ["ops", "ops"], "claims": {"team": "blue"}}
    answer = await service.http.post(ADA, json=body, auth=service.admin)
    user = answer.json()
    assert answer.status_code == 201
    assert user == {
        "sub": user["sub"],
        "username": "Ada",
        "status": "active",
        "roles": ["ops"],
        "claims": {"team": "blue"},
        "version": 1,
        "created_at": clock(),
    }
    state = {"last_login_at": None, "locked_until": None}
    assert (await service.http.get(f"{ADA}/{user['sub']}", auth=service.admin)).json() == user | state
    invited = (await service.http.post(ADA, json={"username": "bea"}, auth=service.admin)).json()
    assert invited["reset_code"].startswith("rst_")
    read = (await service.http.get(f"{ADA}/{invited['sub']}", auth=service.admin)).json()
    assert "reset_code" not in read


VARIANTS = ["ada", "ADA", "Ａda", "ᴬda", "ada"]  # noqa: RUF001 - look-alikes are the point


@pytest.mark.parametrize("variant", VARIANTS)
async def test_a_variant_of_an_existing_name_is_a_409(service: Service, valkey: "redis.Redis", variant: str) -> None:
    """A name in another case or width is taken, at creating and at renaming. Nothing is left behind."""
    await service.user("Ada")
    bea = await service.user("bea")
    before = {key: valkey.get(key) for key in keys(valkey) if valkey.type(key) == b"string"}
    answer = await service.http.post(ADA, json={"username": variant, "password": PASSWORD}, auth=service.admin)
    assert (answer.status_code, answer.json()["error"]) == (409, "username_taken")
    assert {key: valkey.get(key) for key in keys(valkey) if valkey.type(key) == b"string"} == before
    answer = await service.http.patch(f"{ADA}/{bea.sub}", json={"username": variant}, auth=service.admin)
    assert answer.status_code == 409
    assert (await service.deps.store.users.get(bea.sub)).username == "bea"
    assert set(before) == {key for key in keys(valkey) if valkey.type(key) == b"string"}
    await service.login("bea")
    await service.login("ada")


@pytest.mark.parametrize("name", ["", "a\u200bda", "a da", "ada.", "a{b}", "x" * 255, "a\u202eda", "\u0378"])
async def test_names_that_nobody_can_have(world: World, valkey: "redis.Redis", name: str) -> None:
    """Invisible and ambiguous names are refused, and nothing is left behind."""
    before = keys(valkey)
    with pytest.raises(InvalidRequest):
        await world.user(name)
    assert keys(valkey) == before
    user = await world.user()
    with pytest.raises(InvalidRequest):
        await users.update(world.deps, OPERATOR, user.sub, username=name or "\u200b")
    assert (await world.deps.store.users.get(user.sub)) == user


async def test_renaming(world: World) -> None:
    """Only the new name works, and the old one is free. Sessions go on."""
    user = await world.user("ada")
    grant = await world.login("ada")
    await users.update(world.deps, OPERATOR, user.sub, username="Bea")
    assert await world.alive(grant)
    assert await world.alive(await world.login("bea"))
    with pytest.raises(InvalidCredentials):
        await world.login("ada")
    other = await world.user("ada")
    assert (await world.me(await world.login("ada"))).user.sub == other.sub != user.sub


async def test_renaming_to_another_form_of_the_same_name(world: World) -> None:
    """A user can change the spelling of the own name."""
    user = await world.user("ada")
    assert (await users.update(world.deps, OPERATOR, user.sub, username="Ada")).username == "Ada"
    assert await world.alive(await world.login("ADA"))


async def test_deleting(service: Service, valkey: "redis.Redis") -> None:
    """Every session ends, and the name is free. A new user of that name is another user."""
    await service.user("bea")
    before = {key for key in keys(valkey) if not key.startswith((b"throttle:", b"audit"))}
    user = await service.user("ada")
    grant = await service.login("ada")
    assert (await service.http.delete(f"{ADA}/{user.sub}", auth=service.admin)).status_code == 204
    assert not await service.active(grant["access_token"])
    assert (await service.http.delete(f"{ADA}/{user.sub}", auth=service.admin)).status_code == 404
    assert (await service.http.get(f"{ADA}/{user.sub}", auth=service.admin)).status_code == 404
    await service.deps.store.sessions.finish()
    assert {key for key in keys(valkey) if not key.startswith((b"throttle:", b"audit"))} == before
    again = await service.user("ada")
    assert again.sub != user.sub
    assert not await service.active(grant["access_token"])


async def test_suspending_and_reinstating(world: World) -> None:
    """Suspending ends every session and forbids logins. Reinstating allows logins and revives no session."""
    user = await world.user()
    grant = await world.login()
    suspended = await users.update(world.deps, OPERATOR, user.sub, status="suspended")
    assert suspended.epoch > user.epoch
    assert not await world.alive(grant)
    with pytest.raises(InvalidCredentials):
        await world.login()
    again = await users.update(world.deps, OPERATOR, user.sub, status="suspended")
    assert again.epoch == suspended.epoch
    await users.update(world.deps, OPERATOR, user.sub, status="active")
    assert not await world.alive(grant)
    assert await world.alive(await world.login())


async def test_a_change_leaves_the_rest(world: World) -> None:
    """Fields that are left out stay, and each change raises the version."""
    user = await world.user(roles=("ops",), claims={"a": 1})
    changed = await users.update(world.deps, OPERATOR, user.sub, roles=("dev",))
    assert changed == user.but(roles=("dev",), version=2)
    changed = await users.update(world.deps, OPERATOR, user.sub, claims={})
    assert changed == user.but(roles=("dev",), claims={}, version=3)
    changed = await users.update(world.deps, OPERATOR, user.sub, username="bea", roles=(), status="suspended")
    assert (changed.username, changed.roles, changed.status, changed.renaming_to) == ("bea", (), "suspended", None)


async def test_unknown_users(world: World) -> None:
    """Reading, changing and deleting an unknown user are NotFound."""
    acts: list[Any] = [users.update(world.deps, OPERATOR, "x", roles=()), users.delete(world.deps, OPERATOR, "x")]
    for act in acts:
        with pytest.raises(NotFound):
            await act


async def test_a_stale_entry_of_the_index_opens_nothing_and_can_be_taken_over(
    world: World, valkey: "redis.Redis"
) -> None:
    """An entry that a crash left names nobody, or a user of another name. A new user can take the name."""
    ada = await world.user("ada")
    valkey.set("login:bea", "000000000000")  # nobody
    valkey.set("login:cyn", ada.sub)  # a user who is not called that
    for name in ("bea", "cyn"):
        with pytest.raises(InvalidCredentials):
            await world.login(name)
        user = await world.user(name)
        assert valkey.get(f"login:{name}") == user.sub.encode()
        assert (await world.me(await world.login(name))).user.sub == user.sub
    assert (await world.me(await world.login("ada"))).user.sub == ada.sub


async def test_a_rename_that_broke_off(world: World, valkey: "redis.Redis") -> None:
    """After a crash within a rename the user has the old name or both, and the rename can be repeated."""
    ada = await world.user("ada")
    # Reserved: a crash before the index was written.
    await world.deps.store.users.change(ada.sub, lambda user: user.but(renaming_to="bea"))
    assert (await world.me(await world.login("ada"))).user.sub == ada.sub
    # Taken: a crash before the record was switched.
    valkey.set("login:bea", ada.sub)
    for name in ("ada", "bea"):
        assert (await world.me(await world.login(name))).user.sub == ada.sub
    with pytest.raises(UsernameTaken):
        await world.user("bea")
    await users.update(world.deps, OPERATOR, ada.sub, username="bea")
    assert (await world.me(await world.login("bea"))).user.sub == ada.sub
    # Switched: a crash before the old name was released.
    valkey.set("login:ada", ada.sub)
    with pytest.raises(InvalidCredentials):
        await world.login("ada")
    assert (await world.user("ada")).sub != ada.sub


@pytest.mark.parametrize("switched", [False, True], ids=["taken", "switched"])
async def test_a_name_that_is_taken_back_stays(world: World, switched: bool) -> None:
    """A slow rename does not release a name that the user has taken back."""
    ada = await world.user("ada")
    store = world.deps.store.users
    really, first, second = store._release_name, asyncio.Event(), asyncio.Event()

    async def slowly(name: str, sub: str, entry: bytes | None) -> None:
        if name == "ada":
            first.set()
            await second.wait()
        await really(name, sub, entry)

    take_name = store._take_name

    async def taken(user: User) -> None:
        await take_name(user)
        if user.renaming_to == "ada" and not switched:
            second.set()
            await away

    store._release_name, store._take_name = slowly, taken  # type: ignore[method-assign]
    away = asyncio.create_task(users.update(world.deps, OPERATOR, ada.sub, username="bea"))
    await first.wait()
    await users.update(world.deps, OPERATOR, ada.sub, username="ada")
    second.set()
    await away
    with pytest.raises(UsernameTaken):
        await world.user("ada")
    assert (await world.me(await world.login("ada"))).user.sub == ada.sub
    assert (await world.user("bea")).sub != ada.sub


async def test_a_half_made_user_removes_itself(world: World, valkey: "redis.Redis", clock: Clock) -> None:
    """Records of a broken registration expire, and the name is free then."""
    store = world.deps.store

    class Crash(Exception):
        pass

    async def crash(user: User) -> None:
        await take_name(user)
        raise Crash

    take_name, store.users._take_name = store.users._take_name, crash  # type: ignore[method-assign]
    before = keys(valkey)
    with pytest.raises(Crash):
        await store.users.register(User(sub="u1", username="ada", epoch=1, created_at=1), Credentials())
    store.users._take_name = take_name  # type: ignore[method-assign]
    left = keys(valkey) - before
    assert left == {b"user:{u1}", b"credentials:{u1}", b"login:ada"}
    assert 0 < valkey.ttl("user:{u1}") <= 60
    assert 0 < valkey.ttl("credentials:{u1}") <= 60
    expire(valkey, clock() + 61)
    assert (await world.user("ada")).sub != "u1"
    assert await world.alive(await world.login())


async def test_a_new_user_lasts(world: World, valkey: "redis.Redis") -> None:
    """No record of a registered user expires."""
    user = await world.user()
    for key in (f"user:{{{user.sub}}}", f"credentials:{{{user.sub}}}", "login:ada"):
        assert valkey.ttl(key) == -1


async def test_listing_with_a_cursor(service: Service) -> None:
    """The pages have every user once, and at most the wanted number."""
    made = {(await service.deps.store.users.get((await service.user(f"user{n}")).sub)).sub for n in range(23)}
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "5"} | ({} if cursor is None else {"cursor": cursor})
        page = (await service.http.get(ADA, params=query, auth=service.admin)).json()
        assert len(page["items"]) <= 5
        seen += [item["sub"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(made)


class TestLastAdmin:
    """The last admin cannot be removed by mistake: a 409, and nothing changes."""

    async def test_a_user_who_is_the_last(self, world: World) -> None:
        """The last admin keeps the role, the status and the account until there is a second admin."""
        root = await world.user("root", roles=("admin", "ops"))
        before = await world.deps.store.users.get(root.sub)
        changes: list[dict[str, Any]] = [{"roles": ("ops",)}, {"roles": ()}, {"status": "suspended"}]
        for change in changes:
            with pytest.raises(LastAdmin):
                await users.update(world.deps, OPERATOR, root.sub, **change)
        with pytest.raises(LastAdmin):
            await users.delete(world.deps, OPERATOR, root.sub)
        assert await world.deps.store.users.get(root.sub) == before
        await users.update(world.deps, OPERATOR, root.sub, roles=("admin",), username="boss")
        second = await world.user("second", roles=("admin",))
        await users.update(world.deps, OPERATOR, root.sub, roles=())
        with pytest.raises(LastAdmin):
            await users.delete(world.deps, OPERATOR, second.sub)

    @pytest.mark.parametrize("kind", ["user", "client"])
    async def test_a_change_meanwhile_makes_no_second_admin(
        self, world: World, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        """The last admin stays the last one when its record changes during the search for another."""
        last = await world.user("root", roles=("admin",)) if kind == "user" else await world.client("admin")
        pages = world.deps.store.admins.pages

        async def changed_meanwhile() -> AsyncIterator[list[Admin]]:
            if isinstance(last, User):
                await users.update(world.deps, OPERATOR, last.sub, claims={"renamed": True})
            else:
                await clients.update(world.deps, OPERATOR, last.client_id, name="renamed")
            async for page in pages():
                yield page

        monkeypatch.setattr(world.deps.store.admins, "pages", changed_meanwhile)
        deleting = (
            users.delete(world.deps, OPERATOR, last.sub)
            if isinstance(last, User)
            else clients.delete(world.deps, OPERATOR, last.client_id)
        )
        with pytest.raises(LastAdmin):
            await deleting

    @pytest.mark.parametrize("helper", ["suspended", "without a name", "a client", "a public client"])
    async def test_who_counts_as_another_admin(self, world: World, helper: str) -> None:
        """A client with a secret is another admin. Suspended users and users without a login are not."""
        root = await world.user("root", roles=("admin",))
        if helper == "suspended":
            other = await world.user("other", roles=("admin",))
            await users.update(world.deps, OPERATOR, other.sub, status="suspended")
        elif helper == "without a name":
            nameless = User(sub="far|1", roles=("admin",), epoch=1, created_at=1)
            assert await world.deps.store.users.create("far|1", nameless)
        elif helper == "a client":
            await world.client("admin")
        else:
            await world.client(public=True)
        if helper == "a client":
            await users.delete(world.deps, OPERATOR, root.sub)
        else:
            with pytest.raises(LastAdmin):
                await users.delete(world.deps, OPERATOR, root.sub)

    @pytest.mark.parametrize("by", ["roles", "status", "deletion", "permissions"])
    async def test_two_who_remove_each_other(self, world: World, by: str) -> None:
        """One of them stays. The other removal is refused, or may be tried again."""

        async def remove(admin: str) -> object:
            if by == "permissions":
                return await clients.update(world.deps, OPERATOR, admin, permissions=())
            if by == "deletion":
                await users.delete(world.deps, OPERATOR, admin)
                return None
            if by == "roles":
                return await users.update(world.deps, OPERATOR, admin, roles=())
            return await users.update(world.deps, OPERATOR, admin, status="suspended")

        for n in range(5):
            if by == "permissions":
                pair = [(await world.client("admin")).client_id for _ in range(2)]
            else:
                pair = [(await world.user(f"root{n}{one}", roles=("admin",))).sub for one in "ab"]
            done = await asyncio.gather(*map(remove, pair), return_exceptions=True)
            (left,) = [one for one, result in zip(pair, done, strict=True) if isinstance(result, Exception)]
            assert any(isinstance(result, LastAdmin | TooManyChanges) for result in done), done
            with pytest.raises(LastAdmin):
                await remove(left)
            # The next round has a pair of its own.
            name = store_keys.client(left) if by == "permissions" else store_keys.user(left)
            await world.deps.store.connection.delete(name)

    async def test_over_http(self, service: Service) -> None:
        """The only admin client cannot remove itself."""
        path = f"/admin/clients/{service.admin[0]}"
        for answer in (
            await service.http.delete(path, auth=service.admin),
            await service.http.patch(path, json={"permissions": ["introspect"]}, auth=service.admin),
        ):
            assert (answer.status_code, answer.json()["error"]) == (409, "last_admin")
        assert (await service.http.get(path, auth=service.admin)).json()["permissions"].count("admin") == 1
