"""The first login with a password that another system hashed."""

import bcrypt
import pytest

from authsvc.core.imported_hash_text import accept
from authsvc.core.user import Credentials
from authsvc.core.user_import import ImportedUser
from authsvc.errors import CorruptRecord, InvalidCredentials, TooManyAttempts, WrongPassword
from authsvc.flows.deps import Deps
from authsvc.flows.password import change_password
from tests.conftest import PASSWORD as ANOTHER
from tests.flows.conftest import HERE, World, world_of
from tests.hashes import PASSWORD, SAMPLES
from tests.selection import one_in


@pytest.fixture
async def world(deps: Deps) -> World:
    return await world_of(deps)


async def imported(world: World, hash_: str, name: str = "ada") -> str:
    user = await world.user(name)
    await world.deps.store.credentials.change(user.sub, lambda held: held.but(hash=hash_))
    return user.sub


async def stored(world: World, sub: str) -> str:
    held = await world.deps.store.credentials.find(sub)
    assert held is not None
    assert held.hash is not None
    return held.hash


@pytest.mark.parametrize("name", one_in(6, SAMPLES))
async def test_the_first_login_makes_it_argon2id(world: World, name: str) -> None:
    """The first right password replaces the imported hash by argon2id. A wrong one does not."""
    text = accept(SAMPLES[name]).text
    sub = await imported(world, text)
    with pytest.raises(InvalidCredentials):
        await world.login(password=PASSWORD + "!")
    assert await stored(world, sub) == text
    await world.login(password=PASSWORD)
    fresh = await stored(world, sub)
    assert fresh.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    await world.login(password=PASSWORD)
    assert await stored(world, sub) == fresh


async def test_a_wrong_password_counts_like_any_other(world: World) -> None:
    """Wrong passwords for an imported hash are throttled like all others."""
    await imported(world, SAMPLES["devise"])
    for _ in range(5):
        with pytest.raises(InvalidCredentials):
            await world.login(password="wrong")
    with pytest.raises(TooManyAttempts):
        await world.login(password=PASSWORD)


async def test_a_password_changed_meanwhile_is_not_put_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new hash replaces only the imported hash, not a newer password."""
    sub = await imported(world, SAMPLES["devise"])
    hash_ = world.deps.hasher.hash

    async def slowly(password: str) -> str:
        await world.deps.store.credentials.change(sub, lambda _: Credentials(hash="$argon2id$changed"))
        return await hash_(password)

    monkeypatch.setattr(world.deps.hasher, "hash", slowly)
    await world.login(password=PASSWORD)
    assert await stored(world, sub) == "$argon2id$changed"


async def test_an_imported_password_can_be_changed(world: World) -> None:
    """The imported password is accepted as the current one, and a wrong one is not."""
    await imported(world, SAMPLES["django pbkdf2"])
    me = await world.me(await world.login(password=PASSWORD))
    await imported_again(world, me.user.sub)
    with pytest.raises(WrongPassword):
        await change_password(world.deps, HERE, me, "wrong", ANOTHER)
    await change_password(world.deps, HERE, me, PASSWORD, ANOTHER)
    await world.login(password=ANOTHER)


async def imported_again(world: World, sub: str) -> None:
    await world.deps.store.credentials.change(sub, lambda held: held.but(hash=SAMPLES["passlib scrypt"]))


async def test_a_damaged_hash_is_not_a_wrong_password(world: World) -> None:
    """A damaged hash is an outage, and the attempt is not counted."""
    await imported(world, "$pbkdf2-sha256$damaged")
    for _ in range(8):
        with pytest.raises(CorruptRecord):
            await world.login(password=PASSWORD)


async def test_a_password_that_bcrypt_did_not_read_whole_stays(world: World) -> None:
    """bcrypt reads 72 bytes. A typing error after them must not become the password; 72 bytes are read whole."""
    long = "a walk by the river, " * 5
    text = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode()
    sub = await imported(world, text)
    for typed in (long + "with an error", long):
        await world.login(password=typed)
        assert await stored(world, sub) == text
    await world.login(password=long[:72])
    assert (await stored(world, sub)).startswith("$argon2id$")


async def test_spaces_around_a_name_do_not_matter(world: World) -> None:
    """A user of another system whose name ends in a space logs in with the space and without it."""
    user = ImportedUser.of({"username": "ada ", "password_hash": SAMPLES["devise"]}, world.deps.clock())
    assert (user.username, user.canonical) == ("ada", "ada")
    await imported(world, SAMPLES["devise"])
    for name in ("ada ", " ada", "ada"):
        await world.login(name, PASSWORD)
