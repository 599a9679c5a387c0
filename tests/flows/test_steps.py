"""A login with more than one step: codes, recovery codes, what ends it, and what it counts."""

from typing import Any

import pytest
import redis

from authsvc.core import token as tokens
from authsvc.core import totp as codes
from authsvc.core.client import BUILT_IN
from authsvc.core.factors import MAX_DEVICES, Totp
from authsvc.core.known_networks import KnownNetworks
from authsvc.core.token import Kind
from authsvc.core.user import User
from authsvc.errors import (
    AuthError,
    CorruptRecord,
    InsufficientAuthorization,
    InvalidCredentials,
    InvalidSession,
    InvalidToken,
    StoreUnavailable,
    TooManyAttempts,
    WrongFactor,
)
from authsvc.flows import factors, revoke, steps, totp, users
from authsvc.flows.attempts import place_of
from authsvc.flows.deps import OPERATOR, Caller
from authsvc.flows.password import change_password
from authsvc.flows.steps import Completed
from authsvc.store import keys
from authsvc.store.encoding import load
from tests.conftest import PASSWORD, Clock
from tests.flows.conftest import HERE, World
from tests.flows.contents import expires_at_ms
from tests.flows.contents import keys as stored
from tests.selection import one_in

NEW = "seven quiet herons wading"


class Phone:
    """An authenticator app of a user, and the recovery codes on paper."""

    def __init__(self, user: User, seed: bytes, clock: Clock, recovery_codes: tuple[str, ...], id_: str) -> None:
        self.user, self._seed, self._clock = user, seed, clock
        self.recovery_codes, self.id = recovery_codes, id_

    def code(self, steps: int = 0) -> str:
        """The code that it shows now, or some time steps from now."""
        return codes.code_at(self._seed, int(self._clock()) // codes.PERIOD_S + steps)

    def wrong(self) -> str:
        right = {self.code(n) for n in (-1, 0, 1)}
        return next(f"{n:06}" for n in range(10) if f"{n:06}" not in right)


async def enrolled(world: World, clock: Clock, username: str = "ada", **fields: Any) -> Phone:
    """A user with an app that was confirmed a minute ago."""
    await world.user(username, **fields)
    me = await world.me(await world.login(username))
    return await with_app(world, clock, me)


async def with_app(world: World, clock: Clock, me: Any) -> Phone:
    guard = factors.by_session(me)
    begun = await totp.enrol(world.deps, guard, me.user, "phone")
    app = await app_of(world, me.user, begun.id)
    seed = totp.seed_of(world.deps.settings.factor_keys, me.user.sub, app)
    assert seed is not None
    phone = Phone(me.user, seed, clock, (), begun.id)
    done = await totp.confirm(world.deps, HERE, guard, me.user.sub, begun.id, phone.code())
    clock.forward(60)
    return Phone(me.user, seed, clock, done.recovery_codes, begun.id)


async def app_of(world: World, user: User, id_: str) -> Totp:
    held = await world.deps.store.factors.get(user.sub)
    app = held.app(id_)
    assert app is not None
    return app


async def first_step(world: World, username: str = "ada", **fields: Any) -> str:
    """Log in with the password. The token of the login in progress."""
    with pytest.raises(InsufficientAuthorization) as more:
        await world.login(username, **fields)
    assert more.value.auth_session is not None
    return more.value.auth_session


async def by_code(world: World, auth_session: str, code: str, caller: Caller = HERE, **fields: Any) -> Completed:
    client = await world.deps.store.clients.get(BUILT_IN)
    progress = await steps.find(world.deps, auth_session)
    proof = totp.proof_by_code(world.deps, code)
    return await steps.answer(world.deps, caller, client, progress, steps.TOTP, proof, **fields)


async def by_recovery(world: World, auth_session: str, code: str) -> Completed:
    client = await world.deps.store.clients.get(BUILT_IN)
    progress = await steps.find(world.deps, auth_session)
    proof = factors.ProofByRecoveryCode(world.deps, code)
    return await steps.answer(world.deps, HERE, client, progress, steps.RECOVERY, proof)


async def test_a_right_code_completes_the_login(world: World, clock: Clock) -> None:
    """After the password, a code opens a session of two factors; the login is over then."""
    phone = await enrolled(world, clock)
    auth_session = await first_step(world, scope="read", device="my laptop")
    done = await by_code(world, auth_session, phone.code())
    me = await world.me(done.grant)
    assert me.session.amr == ("pwd", "otp", "mfa")
    assert (me.session.scope, me.session.device) == ("read", "my laptop")
    assert await world.alive(done.grant)
    with pytest.raises(InvalidSession):
        await by_code(world, auth_session, phone.code(1))


async def test_a_code_counts_once(world: World, clock: Clock) -> None:
    """A code that was accepted is refused in the next login, and so is an earlier one."""
    phone = await enrolled(world, clock)
    await by_code(world, await first_step(world), phone.code())
    for steps_ in (0, -1):
        with pytest.raises(WrongFactor):
            await by_code(world, await first_step(world), phone.code(steps_))
    await by_code(world, await first_step(world), phone.code(1))


async def test_a_recovery_code_counts_once(world: World, clock: Clock) -> None:
    """Each of the ten codes completes one login, however it is typed."""
    phone = await enrolled(world, clock)
    assert len(set(phone.recovery_codes)) == 10
    code = phone.recovery_codes[3]
    await by_recovery(world, await first_step(world), code.upper().replace("-", " "))
    with pytest.raises(WrongFactor):
        await by_recovery(world, await first_step(world), code)
    await by_recovery(world, await first_step(world), phone.recovery_codes[4])
    assert len((await world.deps.store.factors.get(phone.user.sub)).codes) == 8


async def test_five_wrong_answers_end_the_login(world: World, clock: Clock) -> None:
    """The fifth answer is the last one, also a right one."""
    phone = await enrolled(world, clock)
    auth_session = await first_step(world)
    for _ in range(5):
        with pytest.raises(WrongFactor):
            await by_code(world, auth_session, phone.wrong())
    with pytest.raises(InvalidSession):
        await by_code(world, auth_session, phone.code())


async def test_guesses_are_limited_across_logins(world: World, clock: Clock) -> None:
    """A thief of the password gets no more guesses by beginning again. A completed login clears the count."""
    phone = await enrolled(world, clock)
    limit = world.deps.settings.limit_per_factor

    async def guesses(number: int) -> None:
        for n in range(number):
            if n % 4 == 0:
                auth_session = await first_step(world, caller=Caller(ip=f"10.0.{n}.1"))
            with pytest.raises(WrongFactor):
                await by_code(world, auth_session, phone.wrong())

    await guesses(limit - 1)
    await by_code(world, await first_step(world), phone.code())
    await guesses(limit)
    with pytest.raises(TooManyAttempts):
        await by_code(world, await first_step(world), phone.code(1))


async def test_a_right_password_alone_clears_no_count(world: World, clock: Clock) -> None:
    """Wrong passwords stay counted until the login is complete, and the network becomes known only then."""
    phone = await enrolled(world, clock)
    limit = world.deps.settings.limit_per_pair
    here = Caller(ip="198.51.100.7")

    async def wrong(number: int) -> None:
        for _ in range(number):
            with pytest.raises(InvalidCredentials):
                await world.login(password="not this one at all", caller=here)

    await wrong(limit - 2)
    for _ in range(3):
        auth_session = await first_step(world, caller=here)
    await wrong(2)
    with pytest.raises(TooManyAttempts):
        await world.login(caller=here)
    clock.forward(120)
    auth_session = await first_step(world, caller=here)
    assert not await is_known(world, here)
    await by_code(world, auth_session, phone.code(), here)
    assert await is_known(world, here)
    await wrong(limit)


async def is_known(world: World, caller: Caller) -> bool:
    """Whether somebody has completed a login of ada from this network."""
    place = place_of("ada", caller.ip)
    raw = await world.deps.store.connection.call("GET", place.key)
    return raw is not None and load(KnownNetworks, raw).has(place.digest, world.deps.clock())


@pytest.mark.parametrize(
    "what", one_in(2, ["revoke", "suspend", "password", "factor", "codes", "client", "service", "deleted"])
)
async def test_a_change_between_two_steps_ends_the_login(world: World, clock: Clock, what: str) -> None:
    """A revocation, a suspension, another password and a change of the factors end every login in progress."""
    phone = await enrolled(world, clock)
    me = await world.me((await by_code(world, await first_step(world), phone.code())).grant)
    auth_session = await first_step(world)
    match what:
        case "revoke":
            await revoke.revoke_user(world.deps, OPERATOR, phone.user.sub)
        case "suspend":
            await users.update(world.deps, OPERATOR, phone.user.sub, status="suspended")
            await users.update(world.deps, OPERATOR, phone.user.sub, status="active")
        case "password":
            await change_password(world.deps, HERE, me, PASSWORD, NEW)
        case "factor":
            await with_app(world, clock, me)
        case "codes":
            await factors.replace_codes(world.deps, HERE, me)
        case "client":
            await revoke.revoke_client(world.deps, OPERATOR, BUILT_IN)
        case "service":
            await revoke.revoke_all(world.deps, OPERATOR)
        case _:
            await users.delete(world.deps, OPERATOR, phone.user.sub)
    for answer in (by_code(world, auth_session, phone.code(1)), by_recovery(world, auth_session, "x")):
        with pytest.raises(InvalidSession):
            await answer


async def test_a_suspended_user_does_nothing_more(world: World, clock: Clock) -> None:
    """Whatever has suspended the user: no step, no factor that is added or removed, not even without a new epoch."""
    phone = await enrolled(world, clock)
    me = await world.me((await by_code(world, await first_step(world), phone.code())).grant)
    other = await world.user("eve")
    await factors.require(world.deps, OPERATOR, other.sub, required=True)
    auth_session = await first_step(world)
    enrolling = factors.by_login((await steps.find(world.deps, await first_step(world, "eve"))).step)
    for sub in (phone.user.sub, other.sub):
        await world.deps.store.users.change(sub, lambda held: held.but(status="suspended"))
    with pytest.raises(InvalidSession):
        await by_code(world, auth_session, phone.code(1))
    with pytest.raises(InvalidToken):
        await factors.remove(world.deps, HERE, me, phone.id)
    with pytest.raises(InvalidSession):
        await totp.enrol(world.deps, enrolling, other, None)


async def test_an_emptied_store_ends_no_login(world: World, clock: Clock, valkey: "redis.Redis") -> None:
    """A store without its records says nothing about a login in progress: 503, and not "begin again"."""
    await enrolled(world, clock)
    auth_session = await first_step(world)
    valkey.flushall()
    with pytest.raises(StoreUnavailable):
        await steps.find(world.deps, auth_session)


async def test_a_login_lapses(world: World, clock: Clock, valkey: "redis.Redis") -> None:
    """After ten minutes the login is over, and so is its record."""
    phone = await enrolled(world, clock)
    auth_session = await first_step(world)
    (name,) = [name for name in stored(valkey) if name.startswith(b"step:")]
    assert expires_at_ms(valkey, name) == (int(clock()) + 600) * 1000
    clock.forward(600)
    with pytest.raises(InvalidSession):
        await by_code(world, auth_session, phone.code())


async def test_removing_the_last_factor_needs_the_password_only(world: World, clock: Clock) -> None:
    """Without a factor a login takes one step again. Its recovery codes and trusted devices are gone."""
    phone = await enrolled(world, clock)
    done = await by_code(world, await first_step(world), phone.code(), trust_device=True)
    await factors.remove(world.deps, HERE, await world.me(done.grant), phone.id)
    held = await world.deps.store.factors.get(phone.user.sub)
    assert (held.active, held.codes, held.devices) == (False, (), ())
    assert await world.alive(await world.login())


async def test_an_admin_removes_all_factors(world: World, clock: Clock) -> None:
    """Every session ends, and the password is enough again."""
    phone = await enrolled(world, clock)
    done = await by_code(world, await first_step(world), phone.code())
    await factors.remove_all(world.deps, OPERATOR, phone.user.sub)
    assert not await world.alive(done.grant)
    assert await world.alive(await world.login())
    assert [entry.event for entry in await world.events()][-3:-1] == ["factor.removed", "user.cut_off"]


async def test_missing_factors_open_nothing(world: World, clock: Clock, valkey: "redis.Redis") -> None:
    """If the store loses the record of the factors, the password alone does not log in."""
    phone = await enrolled(world, clock)
    valkey.delete(keys.factors(phone.user.sub))
    with pytest.raises(CorruptRecord):
        await world.login()


async def test_a_trusted_device_needs_no_code(world: World, clock: Clock) -> None:
    """For 30 days the token of a device replaces the second factor, and the session counts as one factor."""
    phone = await enrolled(world, clock)
    device = (await by_code(world, await first_step(world), phone.code(), trust_device=True)).device_token
    assert device is not None
    assert device.startswith("dev_")
    grant = await world.login(device_token=device)
    assert (await world.me(grant)).session.amr == ("pwd",)
    with pytest.raises(InvalidCredentials):
        await world.login(password="not this one at all", device_token=device)
    clock.forward(30 * 86400)
    await first_step(world, device_token=device)


@pytest.mark.parametrize("what", ["revoke", "password", "factor", "other user", "garbage"])
async def test_what_ends_the_trust_in_a_device(world: World, clock: Clock, what: str) -> None:
    """The user's epoch, another password and a change of the factors end it; a device is one user's."""
    phone = await enrolled(world, clock)
    done = await by_code(world, await first_step(world), phone.code(), trust_device=True)
    device, password, name = done.device_token, PASSWORD, "ada"
    me = await world.me(done.grant)
    if what == "revoke":
        await revoke.revoke_user(world.deps, OPERATOR, phone.user.sub)
    elif what == "password":
        await change_password(world.deps, HERE, me, PASSWORD, NEW)
        password = NEW
    elif what == "factor":
        await with_app(world, clock, me)
    elif what == "other user":
        await enrolled(world, clock, "eve")
        name = "eve"
    else:
        device = f"{device}x"
    await first_step(world, name, password=password, device_token=device)


async def test_devices_are_bounded(world: World, clock: Clock) -> None:
    """The record does not grow with each login that trusts its device."""
    phone = await enrolled(world, clock)
    for _ in range(MAX_DEVICES + 3):
        clock.forward(30)
        await by_code(world, await first_step(world), phone.code(), trust_device=True)
    assert len((await world.deps.store.factors.get(phone.user.sub)).devices) == MAX_DEVICES


async def test_a_login_of_one_client_is_not_continued_by_another(world: World, clock: Clock) -> None:
    """The client of the first step is the client of all."""
    phone = await enrolled(world, clock)
    other = await world.client(public=True)
    progress = await steps.find(world.deps, await first_step(world))
    with pytest.raises(InvalidSession):
        await steps.answer(world.deps, HERE, other, progress, steps.TOTP, totp.proof_by_code(world.deps, phone.code()))


async def test_another_secret_of_the_same_handle_is_refused(world: World, clock: Clock) -> None:
    """Knowing the public handle of a login continues nothing, and counts as no answer."""
    await enrolled(world, clock)
    auth_session = await first_step(world)
    handle = auth_session[4:16]
    for other in (tokens.new(Kind.LOGIN, handle).text, tokens.new(Kind.ACCESS, handle).text, "", "aut_"):
        with pytest.raises(AuthError) as refused:
            await steps.find(world.deps, other)
        assert isinstance(refused.value, InvalidSession)
    assert (await world.deps.store.steps.get(handle)).attempts == 0
