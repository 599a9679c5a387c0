"""Each guard of the flows of second factors alone, also where an earlier one refuses first over HTTP."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from authsvc.core import passkey as rules
from authsvc.core import token as tokens
from authsvc.core.client import BUILT_IN
from authsvc.core.factors import ENROL_S, MAX_TOTP, Account, Factors, Totp
from authsvc.core.passkey import MAX_PASSKEYS, Registration
from authsvc.core.step import MAX_ATTEMPTS, Step
from authsvc.core.token import Kind
from authsvc.core.totp import as_text
from authsvc.errors import (
    AccessDenied,
    InsufficientAuthorization,
    InvalidRequest,
    InvalidSession,
    InvalidToken,
    NotFound,
    StoreUnavailable,
    WrongFactor,
)
from authsvc.flows import factors, issue, passkeys, revoke, step_up, steps, totp, users
from authsvc.flows.deps import OPERATOR
from authsvc.flows.steps import Completed, InProgress, Prove
from tests.authenticators import Authenticator, parts
from tests.conftest import PASSWORD, Clock
from tests.flows.conftest import HERE, World
from tests.flows.contents import keys as stored
from tests.flows.test_passkey_races import answer_of, logging_in
from tests.flows.test_steps import Phone, app_of, by_code, by_recovery, enrolled, first_step, with_app


async def strong(world: World, phone: Phone) -> Any:
    """The session of a login of two factors."""
    done = await by_code(world, await first_step(world), phone.code())
    world.deps.clock.forward(60)  # type: ignore[attr-defined]  # the clock of tests
    return await world.me(done.grant)


async def answered(world: World, progress: InProgress, proof: Prove, method: str = steps.TOTP) -> Completed:
    client = await world.deps.store.clients.get(BUILT_IN)
    return await steps.answer(world.deps, HERE, client, progress, method, proof)


async def dies(id_: str) -> bool:
    raise StoreUnavailable("the worker was killed")


class TestStep:
    """A login in progress that another call has changed since it was read."""

    async def test_answers_are_counted_in_the_record(self, world: World, clock: Clock) -> None:
        """Calls that have read the login before the fifth answer get no sixth one."""
        phone = await enrolled(world, clock)
        progress = await steps.find(world.deps, await first_step(world))
        for _ in range(MAX_ATTEMPTS):
            with pytest.raises(WrongFactor):
                await answered(world, progress, totp.proof_by_code(world.deps, phone.wrong()))
        with pytest.raises(InvalidSession):
            await answered(world, progress, totp.proof_by_code(world.deps, phone.code()))

    async def test_an_answer_to_a_completed_login_is_no_guess(self, world: World, clock: Clock) -> None:
        """It is not looked at, so it does not count against the user."""
        phone = await enrolled(world, clock)
        auth_session = await first_step(world)
        progress = await steps.find(world.deps, auth_session)
        await by_code(world, auth_session, phone.code())
        for _ in range(world.deps.settings.limit_per_factor + 5):
            with pytest.raises(InvalidSession):
                await answered(world, progress, totp.proof_by_code(world.deps, phone.code(1)))
        assert await world.alive((await by_code(world, await first_step(world), phone.code(1))).grant)

    @pytest.mark.parametrize("deleted", [True, False])
    async def test_one_of_two_proofs_completes_it(
        self, world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch, deleted: bool
    ) -> None:
        """If another answer completes the login while this one is proven, this one ends.

        deleted: whether the other answer has got so far as to delete the login.
        """
        if not deleted:
            monkeypatch.setattr(world.deps.store.steps, "delete", dies)
        phone = await enrolled(world, clock)
        auth_session = await first_step(world)
        progress = await steps.find(world.deps, auth_session)
        proof, first = totp.proof_by_code(world.deps, phone.code()), list[Completed]()

        async def overtaken(account: Account) -> tuple[str, ...] | None:
            first.append(await by_recovery(world, auth_session, phone.recovery_codes[0]))
            return await proof(account)

        with pytest.raises(InvalidSession):
            await answered(world, progress, overtaken)
        assert await world.alive(first[0].grant)

    async def test_a_login_that_was_completed_leaves_no_record(
        self, world: World, clock: Clock, valkey: "redis.Redis", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If the record can't be deleted, the client gets the tokens all the same, and the login stays over."""
        phone = await enrolled(world, clock)
        await by_code(world, await first_step(world), phone.code())
        assert not [name for name in stored(valkey) if name.startswith(b"step:")]
        monkeypatch.setattr(world.deps.store.steps, "delete", dies)
        auth_session = await first_step(world)
        assert await world.alive((await by_recovery(world, auth_session, phone.recovery_codes[0])).grant)
        with pytest.raises(InvalidSession):
            await by_recovery(world, auth_session, phone.recovery_codes[1])

    async def test_only_what_can_be_proven_here_is_offered(self, world: World, clock: Clock) -> None:
        """A worker without a site for passkeys offers the other methods of the user."""
        phone = await enrolled(world, clock)
        await added(world, await strong(world, phone), Authenticator())
        held = await factors.find(world.deps, phone.user.sub)
        assert steps.methods_for(world.deps, held) == ("passkey", "totp", "recovery")
        elsewhere = replace(world.deps, settings=world.deps.settings.but(issuer="http://192.0.2.1"))
        assert steps.methods_for(elsewhere, held) == ("totp", "recovery")


class TestTotp:
    """Enrolling an app, and its codes."""

    async def test_how_many_apps(self, world: World, clock: Clock) -> None:
        """An account has a bounded number of apps. The later ones bring no recovery codes."""
        phone = await enrolled(world, clock)
        me = await strong(world, phone)
        before = (await factors.find(world.deps, phone.user.sub)).codes
        for _ in range(MAX_TOTP - 1):
            assert (await with_app(world, clock, me)).recovery_codes == ()
        assert (await factors.find(world.deps, phone.user.sub)).codes == before
        with pytest.raises(InvalidRequest):
            await totp.enrol(world.deps, factors.by_session(me), me.user, None)

    async def test_an_app_is_confirmed_once_and_in_time(self, world: World, clock: Clock) -> None:
        """A confirmed app, and an enrolment after ten minutes, is not found."""
        phone = await enrolled(world, clock)
        me = await strong(world, phone)
        guard = factors.by_session(me)
        with pytest.raises(NotFound):
            await totp.confirm(world.deps, HERE, guard, me.user.sub, phone.id, phone.code())
        begun = await totp.enrol(world.deps, guard, me.user, None)
        seed = totp.seed_of(world.deps.settings.factor_keys, me.user.sub, await app_of(world, me.user, begun.id))
        assert seed is not None
        clock.forward(ENROL_S)
        code = Phone(me.user, seed, clock, (), begun.id).code()
        with pytest.raises(NotFound):
            await totp.confirm(world.deps, HERE, guard, me.user.sub, begun.id, code)

    async def test_an_app_that_is_not_confirmed_proves_nothing(self, world: World, clock: Clock) -> None:
        """Who begins an enrolment has the seed, and has not yet shown a code."""
        phone = await enrolled(world, clock)
        me = await strong(world, phone)
        begun = await totp.enrol(world.deps, factors.by_session(me), me.user, None)
        seed = totp.seed_of(world.deps.settings.factor_keys, me.user.sub, await app_of(world, me.user, begun.id))
        assert seed is not None
        with pytest.raises(WrongFactor):
            await by_code(world, await first_step(world), Phone(me.user, seed, clock, (), begun.id).code())

    @pytest.mark.parametrize(
        ("row", "problem"),
        [
            ({"username": "ada", "totp": as_text(bytes(9))}, "10 to 64"),
            ({"username": "ada", "totp": as_text(bytes(65))}, "10 to 64"),
            ({"username": "ada", "totp": as_text(bytes(20)), "digits": 8}, "unknown fields"),
            ({"sub": "nobody", "totp": as_text(bytes(20))}, "no such user"),
            ({"totp": as_text(bytes(20))}, "no user"),
        ],
    )
    async def test_rows_that_are_not_imported(self, world: World, row: dict[str, str], problem: str) -> None:
        """A refused line says why."""
        await world.user()
        tally = await totp.import_seeds(world.deps, OPERATOR, [(7, row)])
        assert (tally.imported, tally.refused) == (0, 1)
        assert tally.reasons[0][0] == 7
        assert problem in tally.reasons[0][1]

    async def test_an_import_needs_a_key_and_notes_it(self, world: World) -> None:
        """A service without the key can't start later, and without any key nothing is imported. Names are cut."""
        user = await world.user()
        row = {"username": "ada", "totp": as_text(bytes(20)), "name": "n" * 200}
        keyless = replace(world.deps, settings=world.deps.settings.but(factor_key=()))
        with pytest.raises(InvalidRequest):
            await totp.import_seeds(keyless, OPERATOR, [(1, row)])
        assert (await world.deps.store.service.get()).factor_keys == ()
        assert (await totp.import_seeds(world.deps, OPERATOR, [(1, row)])).imported == 1
        assert (await world.deps.store.service.get()).factor_keys == (world.deps.settings.factor_keys[0].id,)
        assert [app.name for app in (await factors.find(world.deps, user.sub)).apps] == ["n" * 120]


async def asked(world: World, me: Any) -> dict[str, Any]:
    return await passkeys.creation_options(world.deps, factors.by_session(me), me.handle, me.user.sub)


async def added(world: World, me: Any, device: Authenticator, options: dict[str, Any] | None = None) -> passkeys.Added:
    found = parts(device.create(options or await asked(world, me)))
    answer = passkeys.NewAnswer(Registration(found["clientDataJSON"], found["attestationObject"]), None, ())
    return await passkeys.register(world.deps, HERE, factors.by_session(me), me.handle, answer, me.user.sub)


class TestPasskeys:
    """Registering a passkey, and a login by passkey alone."""

    async def test_options_are_for_the_living(self, world: World) -> None:
        """A session that has ended gets no challenge."""
        await world.user()
        me = await world.me(await world.login())
        await revoke.revoke_user(world.deps, OPERATOR, me.user.sub)
        with pytest.raises(InvalidToken):
            await asked(world, me)

    async def test_another_passkey_keeps_the_recovery_codes(self, world: World) -> None:
        """Only the first factor brings codes. Those on paper work on."""
        await world.user()
        me = await world.me(await world.login())
        first = await added(world, me, Authenticator())
        before = (await factors.find(world.deps, me.user.sub)).codes
        assert len(first.recovery_codes) == len(before) == 10
        assert (await added(world, me, Authenticator())).recovery_codes == ()
        assert (await factors.find(world.deps, me.user.sub)).codes == before

    async def test_two_sessions_add_the_first_one(self, world: World) -> None:
        """Both were given a new name of the user for authenticators. Only one of them can be the user's."""
        await world.user()
        one, other = [await world.me(await world.login()) for _ in range(2)]
        options = [await asked(world, me) for me in (one, other)]
        await added(world, one, Authenticator(), options[0])
        with pytest.raises(InvalidRequest, match="meanwhile"):
            await added(world, other, Authenticator(), options[1])

    async def test_two_sessions_add_the_last_one(self, world: World) -> None:
        """Options that were given before the limit was reached bring no passkey above it."""
        await world.user()
        one, other = [await world.me(await world.login()) for _ in range(2)]
        for _ in range(MAX_PASSKEYS - 1):
            await added(world, one, Authenticator())
        options = await asked(world, other)
        await added(world, one, Authenticator())
        with pytest.raises(InvalidRequest, match="at most"):
            await added(world, other, Authenticator(), options)

    async def test_the_challenge_of_a_login_registers_nothing(self, world: World) -> None:
        """A challenge belongs to one ceremony."""
        await world.user()
        me = await world.me(await world.login())
        await world.deps.store.challenges.put(me.handle, rules.new_challenge(world.deps.clock()))
        held = await world.deps.store.challenges.get(me.handle)
        options = {"challenge": held.challenge, "user": {"id": "AAAA"}}
        with pytest.raises(InvalidRequest, match="ask for options first"):
            await added(world, me, Authenticator(), options)

    async def test_the_handle_of_a_login_ends_nothing(self, world: World) -> None:
        """Who knows the public handle neither answers the login nor uses up its challenge over HTTP."""
        await world.user()
        device = Authenticator()
        await added(world, await world.me(await world.login()), device)
        begun = await passkeys.begin_login(world.deps, HERE)
        forged = tokens.new(Kind.LOGIN, begun.auth_session[4:16]).text
        assert not await passkeys.is_alone(world.deps, forged)
        assert await passkeys.is_alone(world.deps, begun.auth_session)
        answer = answer_of(device, begun.options)
        with pytest.raises(InvalidSession):
            await logging_in(world, forged, answer)


PROOFS: dict[str, Callable[[World, Phone], Prove]] = {
    "totp": lambda world, phone: totp.proof_by_code(world.deps, phone.code()),
    "recovery": lambda world, phone: factors.ProofByRecoveryCode(world.deps, phone.recovery_codes[0]),
}


@pytest.mark.parametrize("method", PROOFS)
async def test_a_user_who_was_deleted_proves_nothing(world: World, clock: Clock, method: str) -> None:
    """The deletion ends the login, between the reading of the user and the proof too."""
    phone = await enrolled(world, clock)
    account = await world.deps.store.users.find_account(phone.user.sub)
    assert account is not None
    await users.delete(world.deps, OPERATOR, phone.user.sub)
    with pytest.raises(InvalidSession):
        await PROOFS[method](world, phone)(account)


async def test_a_passkey_of_a_user_who_was_deleted(world: World) -> None:
    """The same for a passkey."""
    await world.user()
    me, device = await world.me(await world.login()), Authenticator()
    await added(world, me, device)
    account = await world.deps.store.users.find_account(me.user.sub)
    assert account is not None
    answer = answer_of(device, await passkeys.step_options(world.deps, "4fQ0kzPq1LxA", account))
    await users.delete(world.deps, OPERATOR, me.user.sub)
    with pytest.raises(InvalidSession):
        await passkeys.proof_by_passkey(world.deps, "4fQ0kzPq1LxA", answer)(account)


async def enrolling(world: World) -> tuple[Account, Step]:
    """A user who has to enrol a factor, and the login in progress in which that happens."""
    user = await world.user()
    await factors.require(world.deps, OPERATOR, user.sub, required=True)
    step = (await steps.find(world.deps, await first_step(world))).step
    account = await world.deps.store.users.find_account(user.sub)
    assert account is not None
    return account, step


APP = Totp(id="4fQ0kzPq1LxA", created_at=0, key="k", nonce="n")
CHANGED: dict[str, Callable[[Account], Account]] = {
    "a new epoch": lambda a: a._replace(user=a.user.cut_off(10**10)),
    "a suspension": lambda a: a._replace(user=a.user.but(status="suspended")),
    "a factor that came and went": lambda a: a._replace(factors=Factors(epoch=1)),
    "a factor": lambda a: a._replace(factors=Factors(totp=(APP,))),
}


@pytest.mark.parametrize("what", CHANGED)
async def test_what_ends_the_right_to_enrol_in_a_login(world: World, what: str) -> None:
    """Each of these alone ends it."""
    account, step = await enrolling(world)
    factors.by_login(step)(account)
    with pytest.raises(InvalidSession):
        factors.by_login(step)(CHANGED[what](account))


@pytest.mark.parametrize("what", ["a new epoch", "a suspension"])
async def test_what_ends_the_right_of_a_session(world: World, what: str) -> None:
    """Each of these alone ends the right to change factors."""
    account, _ = await enrolling(world)
    await factors.require(world.deps, OPERATOR, account.user.sub, required=False)
    guard = factors.by_session(await world.me(await world.login()))
    guard(account)
    with pytest.raises(InvalidToken):
        guard(CHANGED[what](account))


async def test_a_session_that_has_ended_changes_nothing(world: World, clock: Clock) -> None:
    """After a cut-off the holder of its token removes no factor, replaces no codes and begins no step-up."""
    phone = await enrolled(world, clock)
    me = await strong(world, phone)
    await revoke.revoke_user(world.deps, OPERATOR, phone.user.sub)
    before = await factors.find(world.deps, phone.user.sub)
    with pytest.raises(InvalidToken):
        await factors.remove(world.deps, HERE, me, phone.id)
    with pytest.raises(InvalidToken):
        await factors.replace_codes(world.deps, HERE, me)
    with pytest.raises(InvalidToken):
        await step_up.step_up(world.deps, HERE, me, cookie=False)
    assert await factors.find(world.deps, phone.user.sub) == before


async def test_codes_stand_in_for_a_factor(world: World) -> None:
    """A user without a factor gets no recovery codes."""
    await world.user()
    with pytest.raises(InvalidRequest):
        await factors.replace_codes(world.deps, HERE, await world.me(await world.login()))


async def test_removing_all_factors_frees_the_store(world: World, clock: Clock, valkey: "redis.Redis") -> None:
    """The sessions that have ended are deleted."""
    phone = await enrolled(world, clock)
    await strong(world, phone)
    assert [name for name in stored(valkey) if name.startswith(b"session:")]
    await factors.remove_all(world.deps, OPERATOR, phone.user.sub)
    await world.deps.store.sessions.finish()
    assert not [name for name in stored(valkey) if name.startswith(b"session:")]


class TestStepUp:
    """What a session without a second factor proves."""

    async def test_a_user_without_a_password_has_nothing_to_prove(self, world: World) -> None:
        issuer = await world.client("issue")
        grant = await issue.issue(world.deps, HERE, issuer, sub="far|1")
        with pytest.raises(AccessDenied):
            await step_up.step_up(world.deps, HERE, await world.me(grant), cookie=False)

    async def test_the_name_belongs_to_somebody_else_now(self, world: World) -> None:
        """The password of another user proves nothing, whatever name that user has by now."""
        ada = await world.user()
        account = await world.deps.store.users.find_account(ada.sub)
        assert account is not None
        await users.update(world.deps, OPERATOR, ada.sub, username="ada2")
        await world.user("ada", "seven quiet herons wading")
        prove = step_up.proof_by_password(world.deps, HERE, "seven quiet herons wading")
        assert await prove(account) is None

    async def test_a_long_password_is_refused_before_it_costs_time(self, world: World) -> None:
        with pytest.raises(InvalidRequest):
            step_up.proof_by_password(world.deps, HERE, "p" * 5000)


async def test_the_trust_in_a_device_is_of_its_login(world: World, clock: Clock) -> None:
    """A cut-off or a change of the factors while the login is completed leaves no trusted device.

    The device is stored last. It gets the epochs with which the login began.
    """
    phone = await enrolled(world, clock)
    for number, change in enumerate((revoked, touched)):
        progress = await steps.find(world.deps, await first_step(world))
        client = await world.deps.store.clients.get(BUILT_IN)
        really = steps._clear

        async def meanwhile(*args: Any, change: Any = change, really: Any = really) -> None:
            await really(*args)
            await change(world, phone.user.sub)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(steps, "_clear", meanwhile)
            proof = totp.proof_by_code(world.deps, phone.code())
            done = await steps.answer(world.deps, HERE, client, progress, steps.TOTP, proof, trust_device=True)
        assert (done.device_token is None) == (number == 1)
        with pytest.raises(InsufficientAuthorization):
            await world.login(password=PASSWORD, device_token=done.device_token)
        clock.forward(60)


async def revoked(world: World, sub: str) -> None:
    await revoke.revoke_user(world.deps, OPERATOR, sub)


async def touched(world: World, sub: str) -> None:
    await world.deps.store.factors.change(sub, lambda held: held.with_codes(held.codes, world.deps.clock()))
