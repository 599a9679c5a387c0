"""A worker with the wrong factor key gets no traffic, and does not start."""

import pytest

from authsvc.composition import open_deps
from authsvc.core import totp as codes
from authsvc.errors import NotReady, StartupError
from authsvc.flows import factors, totp
from authsvc.flows.bootstrap import first_start
from authsvc.flows.deps import OPERATOR
from authsvc.flows.ready import ready
from authsvc.hashing.sealing import seal, unseal
from authsvc.settings import Settings
from tests.conftest import CHEAP, FACTOR_KEY, PATIENT, Clock
from tests.flows.conftest import World
from tests.flows.test_steps import by_code, enrolled, first_step

OTHER = "another factor key, which is as long as the first"


async def test_a_wrong_key_is_refused(world: World, clock: Clock, valkey_url: str) -> None:
    """Without a user of one-time codes any key will do. Then the start and /readyz name the missing key."""
    wrong = Settings(**CHEAP | {"factor_key": OTHER})
    async with open_deps(wrong, valkey_url, clock, timeouts=PATIENT) as deps:
        assert await first_start(deps) is None
        await enrolled(world, clock)
        with pytest.raises(StartupError, match=world.deps.settings.factor_keys[0].id):
            await first_start(deps)
        with pytest.raises(NotReady, match="wrong_factor_key"):
            await ready(deps)
        assert len(await totp.forget_lost_keys(deps, OPERATOR)) == 1
        assert await first_start(deps) is None
        assert await totp.forget_lost_keys(deps, OPERATOR) == ()


async def test_a_key_is_rotated(world: World, clock: Clock, valkey_url: str) -> None:
    """The file may hold several keys. The first one makes new seeds, and the others check old codes."""
    phone = await enrolled(world, clock)
    rotated = Settings(**CHEAP | {"factor_key": f"{OTHER}\n{FACTOR_KEY}\n"}, app_scope="read")
    async with open_deps(rotated, valkey_url, clock, timeouts=PATIENT) as deps:
        assert await first_start(deps) is None
        newer = World(deps, world.app)
        await by_code(newer, await first_step(newer), phone.code())
        await enrolled(newer, clock, "eve")
        assert len((await deps.store.service.get()).factor_keys) == 2
    with pytest.raises(StartupError):
        await first_start(world.deps)


async def test_a_lost_key_leaves_recovery_codes(world: World, clock: Clock, valkey_url: str) -> None:
    """A worker offers only what it can check. The password alone never gets anybody in."""
    phone = await enrolled(world, clock)
    async with open_deps(
        Settings(**CHEAP | {"factor_key": OTHER}, app_scope="read"), valkey_url, clock, timeouts=PATIENT
    ) as deps:
        other = World(deps, world.app)
        step = await deps.store.steps.get((await first_step(other))[4:16])
        assert step.methods == ("recovery",)
    assert await factors.find(world.deps, phone.user.sub)


def test_a_sealed_seed() -> None:
    """It opens with its key, for its user and its factor, and in no other way."""
    key, other = Settings(factor_key=(FACTOR_KEY, OTHER)).factor_keys
    seed = b"12345678901234567890"
    sealed = seal(key.sealing_key(), seed, totp.bound_to("u", "f"))
    assert unseal(key.sealing_key(), sealed, totp.bound_to("u", "f")) == seed
    assert unseal(other.sealing_key(), sealed, totp.bound_to("u", "f")) is None
    assert unseal(key.sealing_key(), sealed, totp.bound_to("v", "f")) is None
    assert unseal(key.sealing_key(), sealed, totp.bound_to("u", "g")) is None
    for wrong in ("", "x", sealed[:-4], "A" + sealed[1:] if sealed[0] != "A" else "B" + sealed[1:]):
        assert unseal(key.sealing_key(), wrong, totp.bound_to("u", "f")) is None
    assert seal(key.sealing_key(), seed, "a") != seal(key.sealing_key(), seed, "a")
    assert codes.as_text(seed) not in sealed
