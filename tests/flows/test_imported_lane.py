"""Imported hashes that are slow to check delay nobody else, and no answer tells who has one."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from authsvc.core.argon2_profiles import Argon2Profile
from authsvc.core.hash_form import Form
from authsvc.core.imported_hash import MAX_CHECK_S, ImportedHash
from authsvc.errors import InvalidCredentials, Overloaded, TooManyAttempts
from authsvc.flows.deps import Caller, Deps
from authsvc.flows.hash_forms import add_form, count_forms
from authsvc.flows.users import update
from authsvc.hashing import imported
from authsvc.hashing.hasher import Hasher
from tests.conftest import PASSWORD as RIVER
from tests.conftest import Clock
from tests.flows.conftest import HERE, World, world_of
from tests.flows.test_imported_login import imported as import_user
from tests.hashes import PASSWORD, SAMPLES
from tests.selection import slow

B64 = "A" * 43
SLOW, ANOTHER = SAMPLES["devise"], SAMPLES["passlib pbkdf2"]
# Hashes of earlier imports, over today's bounds, and one that the primitive alone refuses.
OVER_THE_BOUNDS = (
    f"$scrypt$ln=16,r=1,p=1$c2FsdHNhbHQ${B64}",
    f"$scrypt$ln=17,r=1,p=1$c2FsdHNhbHQ${B64}",
    f"scrypt$2$salt$8$131072${B64}=",
    f"scrypt$2$salt$1048576$1${B64}=",
    f"$argon2id$v=19$m=128,t=8192,p=16$c2FsdHNhbHQ${B64}",
    f"$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ${B64}",
    "$2b$31$" + "a" * 21 + "O" + "a" * 31,
    f"pbkdf2_sha256$9999999999$salt${B64}=",
)


@pytest.fixture
async def world(deps: Deps) -> World:
    return await world_of(deps)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Holds up every check of an imported hash until it is set."""
    gate, verify = threading.Event(), imported.verify

    def held(parsed: ImportedHash, password: str) -> bool:
        assert gate.wait(60)
        return verify(parsed, password)

    monkeypatch.setattr(imported, "verify", held)
    yield gate
    gate.set()


def takes(world: World, form: str, seconds: float) -> None:
    """Let checks of this form count as so slow."""
    known: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    known.set_result(seconds)
    world.deps.hasher._measured[form] = known


async def answer(world: World, name: str, password: str = "wrong", n: int = 1) -> str:
    """The kind of the answer. `n`: makes an address."""
    try:
        await world.login(name, password, caller=Caller(ip=f"10.{n // 250}.{n % 250}.1"))
    except (InvalidCredentials, Overloaded, TooManyAttempts) as error:
        return type(error).__name__
    return "in"


@pytest.mark.parametrize("text", OVER_THE_BOUNDS)
async def test_a_stored_hash_over_the_bounds_is_a_wrong_password(world: World, text: str) -> None:
    """The answer is that of an unknown name, whoever guesses. The audit trail names the bound and not the hash."""
    sub = await import_user(world, text)
    assert await answer(world, "ada", PASSWORD) == await answer(world, "nobody") == "InvalidCredentials"
    (event,) = [e for e in await world.events() if e.sub == sub and e.outcome == "failure"]
    assert event.details is not None
    assert (
        "at most" in event.details["unusable_hash"]
        or "4 to 14" in event.details["unusable_hash"]
        or ("below 2^(16*r)" in event.details["unusable_hash"])
    )
    assert B64[:20] not in str(event)
    service = await world.deps.store.service.get()
    assert service.hash_forms == ()  # nobody has to wait for a hash that is never checked


@pytest.mark.slow
async def test_all_refusals_wait_for_the_slowest_form_in_use(world: World) -> None:
    """Unknown, suspended and without a password; a hash of this service, an older one of it, and imported ones."""
    await import_user(world, SLOW, "slow")
    await import_user(world, ANOTHER, "quick")
    await import_user(world, OVER_THE_BOUNDS[0], "over")
    older = Hasher(Argon2Profile(2, 16, 1), threads=1)
    await import_user(world, await older.hash(PASSWORD), "older")
    older.close()
    sub = await import_user(world, SLOW, "suspended")
    await update(world.deps, HERE, sub, status="suspended")
    await world.user("own")
    nothing = await world.user("nothing")
    await world.deps.store.credentials.change(nothing.sub, lambda held: held.but(hash=None))
    takes(world, "bcrypt cost=4", 0.05)
    assert await answer(world, "slow") == "InvalidCredentials"  # from now on the form is in the list
    for n, name in enumerate(("nobody", "a b", "slow", "quick", "over", "older", "suspended", "own", "nothing")):
        began = time.monotonic()
        assert await answer(world, name, n=n) == "InvalidCredentials"
        assert time.monotonic() - began >= 0.05 * 5, name  # the check, and the longest wait before it


async def test_without_imported_hashes_nothing_waits(world: World) -> None:
    """The lane is for stores that need it. An import elsewhere opens it for every worker, from the next login on."""
    await world.user("own")
    lane = world.deps.hasher._lane
    lane._names.add("own")
    assert await answer(world, "own") == "InvalidCredentials"
    await add_form(world.deps, Form.parse("bcrypt cost=4"))
    assert await answer(world, "own", n=2) == "Overloaded"
    lane._names.discard("own")


async def test_guesses_at_a_slow_hash_hold_up_nobody(world: World, gate: threading.Event) -> None:
    """While every check of an imported hash hangs, all others log in."""
    takes(world, "bcrypt cost=4", 0.05)
    for n in range(3):
        await import_user(world, SLOW, f"slow{n}")
    for n in range(8):
        await world.user(f"own{n}")
    guesses = [asyncio.create_task(answer(world, f"slow{n % 3}", n=n)) for n in range(30)]
    lane, others = world.deps.hasher._lane, world.deps.hasher._pool
    # Each guess is first checked like one at an unknown name, with the hashes of this service.
    while lane._queued_s < 0.15 or others._free < others._capacity:  # noqa: ASYNC110 - they tell nobody
        await asyncio.sleep(0.001)
    for _ in range(3):
        assert [await answer(world, f"own{n}", RIVER, 100 + n) for n in range(8)] == ["in"] * 8
    gate.set()
    answers = await asyncio.gather(*guesses)
    assert set(answers) <= {"InvalidCredentials", "Overloaded"}
    assert answers.count("InvalidCredentials") == 3  # one check for each name at a time


async def test_a_full_lane_answers_all_guesses_alike(world: World, gate: threading.Event) -> None:
    """Right passwords of others get in. Guesses at any name get the same answer, and count alike."""
    takes(world, "bcrypt cost=4", 0.05)
    names = ["slow", "own", "nobody"]
    for n in range(8):
        await import_user(world, SLOW, f"filler{n}")
    await import_user(world, SLOW, "slow")
    await world.user("own")
    fillers = [asyncio.create_task(answer(world, f"filler{n}", n=n)) for n in range(8)]
    lane = world.deps.hasher._lane
    while lane._queued_s < 0.2 * lane._threads.threads:  # noqa: ASYNC110 - the lane tells nobody
        await asyncio.sleep(0.001)
    for _ in range(5):
        assert [await answer(world, name, n=50) for name in names] == ["Overloaded"] * 3
    assert await answer(world, "own", RIVER, 99) == "in"
    assert [await answer(world, name, n=50) for name in names] == ["TooManyAttempts"] * 3
    gate.set()
    await asyncio.gather(*fillers)


@pytest.mark.parametrize("name", ["slow", slow("own"), slow("nobody")])
async def test_one_guess_at_a_time_for_each_name(world: World, name: str) -> None:
    """Concurrent guesses at one name get the same answers, whether the name has a slow hash, another one or none."""
    await import_user(world, SLOW, "slow")
    await world.user("own")
    await answer(world, "slow")
    takes(world, "bcrypt cost=4", 1)  # all ten have come before the first check ends
    answers = await asyncio.gather(*(answer(world, name, n=n) for n in range(10)))
    assert sorted(answers) == ["InvalidCredentials"] + ["Overloaded"] * 9


async def test_every_form_in_use_gets_into_the_list(world: World, clock: Clock) -> None:
    """A store of an older version has no list. A count fills the list, and drops the forms that nobody has any more."""
    await world.deps.store.service.change(lambda held: held.but(hash_forms=(), forms_counted_at=0))
    for name in ("devise", "django scrypt", "passlib pbkdf2 sha512", "django argon2"):
        await import_user(world, SAMPLES[name].removeprefix("argon2"), name.replace(" ", "-"))
    await import_user(world, OVER_THE_BOUNDS[0], "over")
    await world.user("own")
    assert await count_forms(world.deps)
    service = await world.deps.store.service.get()
    assert {Form.parse(form).algorithm for form in service.hash_forms} == {
        "bcrypt",
        "scrypt",
        "pbkdf2-sha512",
        "argon2id",
    }
    assert not await count_forms(world.deps)  # one worker has counted today
    await world.login("devise", PASSWORD)
    clock.forward(90_000)
    assert await count_forms(world.deps)
    assert "bcrypt cost=4" not in (await world.deps.store.service.get()).hash_forms


async def test_a_form_of_a_newer_version_keeps_nobody_out(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Refusals wait as long as for the slowest form that is taken. The log tells, and right passwords get in."""
    await world.user("own")
    await add_form(world.deps, Form.parse("newer-hash n=5"))
    await world.deps.hasher.learn((await world.deps.store.service.get()).hash_forms)
    assert "newer-hash n=5 are not checked as they should be on this machine: an unknown form" in caplog.text
    assert await world.deps.hasher._seconds("newer-hash n=5") == MAX_CHECK_S
    assert await answer(world, "own", RIVER) == "in"


async def test_a_new_store_needs_no_count(world: World, clock: Clock) -> None:
    """Nobody walks through all credentials of a store that never had an imported hash."""
    clock.forward(90_000)
    assert not await count_forms(world.deps)
