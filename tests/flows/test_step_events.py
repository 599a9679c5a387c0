"""The audit trail of second factors: each thing that happens to them is in it once, and says what it was about."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from authsvc.composition import open_deps
from authsvc.core.client import BUILT_IN
from authsvc.core.passkey import Registration
from authsvc.core.totp import as_text
from authsvc.errors import AuthError, TooManyAttempts
from authsvc.flows import factors, passkeys, step_up, totp
from authsvc.flows.deps import OPERATOR, Caller
from authsvc.settings import Settings
from tests.authenticators import Authenticator, parts
from tests.conftest import CHEAP, PATIENT, Clock
from tests.flows.conftest import HERE, World
from tests.flows.test_factor_key import OTHER
from tests.flows.test_passkey_races import answer_of, logging_in
from tests.flows.test_steps import Phone, by_code, by_recovery, enrolled, first_step, with_app


@dataclass
class Stage:
    """A user with an app, who is logged in with two factors."""

    world: World
    clock: Clock
    phone: Phone
    me: Any
    device: Authenticator = field(default_factory=Authenticator)

    @property
    def deps(self) -> Any:
        return self.world.deps


@pytest.fixture
async def stage(world: World, clock: Clock) -> Stage:
    phone = await enrolled(world, clock)
    done = await by_code(world, await first_step(world), phone.code())
    clock.forward(60)
    return Stage(world, clock, phone, await world.me(done.grant))


async def wrong_code(s: Stage) -> None:
    await by_code(s.world, await first_step(s.world), s.phone.wrong())


async def throttled(s: Stage) -> None:
    for n in range(s.deps.settings.limit_per_factor + 1):
        if n % 4 == 0:
            auth_session = await first_step(s.world, caller=Caller(ip=f"10.0.{n}.1"))
        try:
            await by_code(s.world, auth_session, s.phone.wrong())
        except TooManyAttempts:
            raise
        except AuthError:
            continue


async def trusted(s: Stage) -> None:
    await by_code(s.world, await first_step(s.world), s.phone.code(), trust_device=True)


async def stepped_up(s: Stage) -> None:
    begun = await step_up.step_up(s.deps, HERE, s.me, cookie=False)
    await by_recovery(s.world, begun.auth_session or "", s.phone.recovery_codes[0])


async def passkey(s: Stage) -> None:
    guard = factors.by_session(s.me)
    found = parts(s.device.create(await passkeys.creation_options(s.deps, guard, s.me.handle, s.me.user.sub)))
    answer = Registration(found["clientDataJSON"], found["attestationObject"])
    new = passkeys.NewAnswer(answer, None, ())
    await passkeys.register(s.deps, HERE, guard, s.me.handle, new, s.me.user.sub)


async def wrong_passkey(s: Stage) -> None:
    begun = await passkeys.begin_login(s.deps, HERE)
    answer = answer_of(Authenticator(user_handle="AAAA"), begun.options)
    await logging_in(s.world, begun.auth_session, answer)


async def wrong_passkey_too_often(s: Stage) -> None:
    for _ in range(s.deps.settings.limit_per_address + 1):
        try:
            await wrong_passkey(s)
        except TooManyAttempts:
            raise
        except AuthError:
            continue


async def imported(s: Stage) -> None:
    await s.world.user("eve")
    rows = [(1, {"username": "eve", "totp": as_text(bytes(20))}), (2, {"username": "nobody", "totp": "x"})]
    await totp.import_seeds(s.deps, OPERATOR, rows)


Act = Callable[[Stage], Awaitable[Any]]
Expected = list[tuple[str, dict[str, Any]]]
PENDING: tuple[str, dict[str, Any]] = ("login.pending", {"client_id": BUILT_IN})
ACTS: dict[str, tuple[Act, Expected]] = {
    "wrong code": (wrong_code, [PENDING, ("factor.failed", {"outcome": "failure", "method": "totp"})]),
    "trusted device": (
        trusted,
        [PENDING, ("login.succeeded", {"outcome": "success"}), ("device.trusted", {"client_id": BUILT_IN})],
    ),
    "step-up": (stepped_up, [("session.stepped_up", {"amr": ("otp",), "client_id": BUILT_IN})]),
    "another app": (lambda s: with_app(s.world, s.clock, s.me), [("factor.added", {"kind": "totp"})]),
    "passkey": (passkey, [("factor.added", {"kind": "passkey"})]),
    "wrong passkey": (wrong_passkey, [("login.failed", {"outcome": "failure", "method": "passkey"})]),
    "remove": (lambda s: factors.remove(s.deps, HERE, s.me, s.phone.id), [("factor.removed", {})]),
    "remove all": (
        lambda s: factors.remove_all(s.deps, OPERATOR, s.me.user.sub),
        [("factor.removed", {"reason": "all"}), ("user.cut_off", {"reason": "factors removed"})],
    ),
    "new codes": (lambda s: factors.replace_codes(s.deps, HERE, s.me), [("factor.codes_replaced", {})]),
    "require": (
        lambda s: factors.require(s.deps, OPERATOR, s.me.user.sub, required=True),
        [("user.changed", {"factor_required": True})],
    ),
    "import": (imported, [("user.created", {}), ("factors.imported", {"imported": 1, "refused": 1})]),
}


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The logged events. Their details are beside their other members."""
    found = [record.__dict__["fields"] for record in caplog.records if record.name == "authsvc.audit"]
    return [one | (one.get("details") or {}) for one in found]


@pytest.mark.parametrize("what", ACTS)
async def test_each_thing_writes_its_event_once(stage: Stage, caplog: pytest.LogCaptureFixture, what: str) -> None:
    """The events are exactly these, in the log and in the trail, and those about the user name the user."""
    act, expected = ACTS[what]
    before = len(await stage.world.events())
    with caplog.at_level(logging.INFO, "authsvc.audit"):
        try:
            await act(stage)
        except AuthError:
            assert any(members.get("outcome") == "failure" for _, members in expected)
    events = told(caplog)
    assert [one["event"] for one in events] == [name for name, _ in expected]
    for event, (_, members) in zip(events, expected, strict=True):
        assert {name: event.get(name) for name in members} == members
        assert event.get("sub") == stage.me.user.sub or what in ("import", "wrong passkey")
    assert [entry.event for entry in await stage.world.events()][before:] == [name for name, _ in expected]


@pytest.mark.parametrize(
    ("act", "event"), [(throttled, "factor.throttled"), (wrong_passkey_too_often, "login.throttled")]
)
async def test_refused_attempts_are_in_the_log(
    stage: Stage, caplog: pytest.LogCaptureFixture, act: Act, event: str
) -> None:
    """An attempt above the limit is in the log, and not in the trail, which an attacker would wash out."""
    with caplog.at_level(logging.INFO, "authsvc.audit"), pytest.raises(TooManyAttempts):
        await act(stage)
    assert [one["event"] for one in told(caplog)].count(event) == 1
    assert event not in [entry.event for entry in await stage.world.events()]


async def test_forgotten_keys_are_in_the_trail(stage: Stage, valkey_url: str) -> None:
    """An operator who gives up a lost key leaves its id in the trail."""
    other = Settings(**CHEAP | {"factor_key": OTHER})
    async with open_deps(other, valkey_url, stage.clock, timeouts=PATIENT) as deps:
        lost = await totp.forget_lost_keys(deps, OPERATOR)
    last = (await stage.world.events())[-1]
    assert (last.event, last.details) == ("factor.keys_forgotten", {"keys": list(lost)})


async def test_a_login_in_progress_keeps_the_address_that_was_named(world: World, clock: Clock) -> None:
    """A web server names its user's address at the first step. The later steps count there, and the session has it."""
    phone = await enrolled(world, clock)
    named = Caller(ip="203.0.113.7", user_agent="a browser", named_by="web")
    for caller, ip in ((named, "203.0.113.7"), (Caller(ip="198.51.100.7", user_agent="curl"), HERE.ip)):
        done = await by_code(world, await first_step(world, caller=caller), phone.code(), HERE)
        session = (await world.me(done.grant)).session
        assert session.ip == ip
        clock.forward(60)
