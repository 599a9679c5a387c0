"""Second factors on the command line: listing, removing, demanding, and importing them."""

import asyncio
import json
from pathlib import Path

import pytest

from authsvc.cli.statuses import REFUSED
from authsvc.core import totp as codes
from authsvc.errors import InsufficientAuthorization
from authsvc.flows import factors, totp
from authsvc.flows.deps import OPERATOR, Deps
from tests.cli.test_cli import Cli
from tests.conftest import Clock
from tests.flows.conftest import World, world_of
from tests.flows.test_steps import by_code, enrolled, first_step

SEED = b"12345678901234567890"


@pytest.fixture
async def world(deps: Deps) -> World:
    return await world_of(deps)


@pytest.fixture
def cli(world: World, valkey_url: str, clock: Clock) -> Cli:
    return Cli(valkey_url, clock)


async def run(cli: Cli, *arguments: str) -> str:
    """Run a command, which has an event loop of its own."""

    return await asyncio.to_thread(cli.ok, *arguments)


async def test_a_lost_phone(world: World, clock: Clock, cli: Cli) -> None:
    """An operator lists a user's factors, and removes them: the password is enough, and every session has ended."""
    phone = await enrolled(world, clock)
    done = await by_code(world, await first_step(world), phone.code())
    listed = json.loads(await run(cli, "user", "factors", "ada", "--json"))
    assert listed["id"] == phone.id
    await run(cli, "user", "factors", "ada", "--remove-all", "--yes")
    assert not await world.alive(done.grant)
    assert await world.alive(await world.login())


async def test_demanding_a_factor(world: World, cli: Cli) -> None:
    """A user of whom an operator demands a factor may only enrol one at the next login."""
    await world.user()
    await run(cli, "user", "require-factor", "ada")
    with pytest.raises(InsufficientAuthorization) as more:
        await world.login()
    assert more.value.methods == ("enrol",)
    await run(cli, "user", "require-factor", "ada", "--off")
    await world.login()


async def test_importing_seeds(world: World, clock: Clock, cli: Cli, tmp_path: Path) -> None:
    """An imported app works at once, and its seed is not in the store. A second run changes nothing."""
    ada, bob = await world.user(), await world.user("bob")
    rows = [
        {"username": "ADA", "totp": codes.as_text(SEED), "name": "her phone"},
        {"sub": bob.sub, "totp": codes.as_text(SEED[::-1]).lower()},
        {"username": "nobody", "totp": codes.as_text(SEED)},
        {"username": "ada", "totp": "not base32!"},
        {"username": "ada", "totp": codes.as_text(SEED), "digits": 8},
    ]
    path = tmp_path / "seeds.jsonl"
    path.write_text("\n".join([*map(json.dumps, rows), "no JSON"]))
    assert json.loads(await run(cli, "user", "import-factors", str(path), "--json")) == {
        "imported": 2,
        "there": 0,
        "refused": 4,
    }
    held = await factors.find(world.deps, ada.sub)
    assert [(app.name, app.nonce) for app in held.apps] == [("her phone", None)]
    for name, seed in (("ada", SEED), ("bob", SEED[::-1])):
        code = codes.code_at(seed, int(clock()) // codes.PERIOD_S)
        await by_code(world, await first_step(world, name), code)
    again = json.loads(await run(cli, "user", "import-factors", str(path), "--json"))
    assert (again["imported"], again["there"]) == (0, 2)
    moved = held.apps[0].but(id="4fQ0kzPq1LxA")
    assert totp.seed_of(world.deps.settings.factor_keys, ada.sub, moved) is None


async def test_lost_keys_are_given_up(world: World, clock: Clock, cli: Cli) -> None:
    """Only the keys that the file lacks, and only when an operator says so."""
    await enrolled(world, clock)

    wrong = "w" * 40
    refused = await asyncio.to_thread(cli, "service", "forget-factor-keys", AUTHSVC_FACTOR_KEY=wrong)
    assert refused.exit_code != 0
    assert refused.exit_code in {REFUSED, 2}
    done = await asyncio.to_thread(cli, "service", "forget-factor-keys", "--yes", AUTHSVC_FACTOR_KEY=wrong)
    assert done.exit_code == 0, done.output
    assert (await world.deps.store.service.get()).factor_keys == ()
    assert await totp.forget_lost_keys(world.deps, OPERATOR) == ()
