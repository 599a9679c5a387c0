"""A login that needs more than one step: beginning it, taking an answer, and completing it.

Each kind of factor has a module of its own. It gives `answer` a function that proves the factor.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from authsvc.core import token as tokens
from authsvc.core.client import Client
from authsvc.core.event import About, Event
from authsvc.core.factor_key import named
from authsvc.core.factors import DEVICE_S, Account, Device, Factors
from authsvc.core.session import Epochs
from authsvc.core.step import ENROL, LIFE_S, Step
from authsvc.core.strength import combined, must_have_factor
from authsvc.core.token import Kind, Token
from authsvc.core.username import normalise
from authsvc.errors import (
    AuthError,
    InsufficientAuthorization,
    InvalidRequest,
    InvalidSession,
    NotFound,
    StoreUnavailable,
    TooManyAttempts,
    TooManyChanges,
    WrongFactor,
)
from authsvc.flows.attempts import factor_windows, login_windows, note_lock, place_of
from authsvc.flows.deps import Caller, Deps, audit
from authsvc.flows.grants import Asked, Grant, open_login, strengthen
from authsvc.store.throttle import Reservation

PASSKEY = "passkey"
TOTP = "totp"
RECOVERY = "recovery"
PASSWORD = "password"  # noqa: S105 - the name of a method

# Proves a factor of this account: its `amr`, or None if the answer is wrong. It may count exactly once.
Prove = Callable[[Account], Awaitable[tuple[str, ...] | None]]


class Needed(NamedTuple):
    """What a login still needs. methods: any one of them. trusts: whether its device may be trusted afterwards."""

    methods: tuple[str, ...]
    trusts: bool = False


@dataclass(frozen=True, slots=True)
class InProgress:
    """A login in progress, as its client presented it."""

    token: Token
    step: Step


@dataclass(frozen=True, slots=True)
class Completed:
    """A completed login or step-up. cookie: whether its token goes into the cookie.

    begins: whether a session began; a step-up continues one. recovery_codes_left: None for an account without a factor.
    """

    grant: Grant
    cookie: bool
    begins: bool
    device_token: str | None = field(repr=False, default=None)
    recovery_codes_left: int | None = None


def offered(deps: Deps) -> tuple[str, ...]:
    """The methods beside passwords that this service has."""
    capabilities = deps.settings.capabilities
    by_capability = (("passkeys", PASSKEY), ("totp", TOTP), ("factors", RECOVERY))
    return tuple(method for capability, method in by_capability if capability in capabilities)


def methods_for(deps: Deps, factors: Factors | None) -> tuple[str, ...]:
    """The methods with which the user can prove one of these factors here."""
    if factors is None or not factors.active:
        return ()
    keys = deps.settings.factor_keys
    apps = (TOTP,) if any(named(keys, app.key) for app in factors.apps) else ()
    passkeys = (PASSKEY,) if factors.passkeys and "passkeys" in deps.settings.capabilities else ()
    return (*passkeys, *apps, *((RECOVERY,) if factors.codes else ()))


def missing(deps: Deps, client: Client, device_token: str | None, account: Account) -> Needed | None:
    """What a login needs after a right password; None if the password is enough. Raises CorruptRecord."""
    demanded = must_have_factor(account.user, client, deps.settings.require_factor_for)
    if not account.has_factor:
        return Needed((ENROL,)) if demanded else None
    if not demanded and account.factors is not None and device_token is not None:
        device = tokens.parse(device_token, Kind.DEVICE)
        if device and account.factors.trusts(device.digest, account.user.epoch, deps.clock()):
            return None
    return Needed(methods_for(deps, account.factors), trusts=not demanded)


async def begin(
    deps: Deps,
    caller: Caller,
    account: Account,
    client: Client,
    epochs: Epochs,
    needed: Needed,
    asked: Asked,
    *,
    proven: tuple[str, ...] = (),
    session: str | None = None,
) -> InsufficientAuthorization:
    """Store a login in progress. Returns the exception with which the call is answered.

    epochs: as read before the secret of the first step was checked, or together with the session that steps up.
    session: the handle of that session; None for a login.
    """
    token, now = tokens.new(Kind.LOGIN), deps.clock()
    step = Step(
        digest=token.digest,
        sub=account.user.sub,
        client_id=client.client_id,
        epochs=epochs,
        factors_epoch=account.factors_epoch,
        proven=proven,
        methods=needed.methods,
        trusts=needed.trusts,
        session=session,
        scope=asked.scope,
        device=asked.device,
        cookie=asked.cookie,
        ip=caller.ip if caller.named_by else None,
        user_agent=caller.user_agent if caller.named_by else None,
        until=int(now) + LIFE_S,
    )
    if not await deps.store.steps.create(token.handle, step):
        raise StoreUnavailable("no free handle")  # a collision in 71 bits: something else is wrong
    if session is None:
        await audit(deps, caller, Event.LOGIN_PENDING, About(step.sub, client_id=step.client_id))
    return InsufficientAuthorization(token.text, step.methods, LIFE_S)


async def find(deps: Deps, presented: str) -> InProgress:
    """The login in progress with this token. Raises InvalidSession."""
    token = tokens.parse(presented, Kind.LOGIN)
    step = None if token is None else await deps.store.steps.find(token.handle)
    if token is not None and step is None:
        await deps.store.service.get()  # a store that was emptied says nothing about this token
    if token is None or step is None or not step.opens_with(token, deps.clock()):
        raise InvalidSession()
    return InProgress(token, step)


async def alive(deps: Deps, client: Client, progress: InProgress, method: str) -> Account:
    """The account of a login that may go on with this method. Raises InvalidSession, InvalidRequest."""
    step = progress.step
    account = await deps.store.users.find_account(step.sub)
    service = await deps.store.service.get()
    if (
        account is None
        or account.user.status != "active"
        or client.client_id != step.client_id
        # A revocation, a suspension or another password since the first step ends the login, and so does a factor.
        or Epochs.of(account.user, client, service) != step.epochs
        or account.factors_epoch != step.factors_epoch
    ):
        raise InvalidSession()
    if method not in step.methods:
        raise InvalidRequest(f"this login takes {' or '.join(step.methods) or 'nothing here'}")
    return account


def on_behalf(caller: Caller, step: Step) -> Caller:
    """The origin of a later step: the user's own address, if a web server named it at the first step."""
    if step.ip is None:
        return caller
    return replace(caller, ip=step.ip, user_agent=step.user_agent, named_by=step.client_id)


async def answer(
    deps: Deps,
    caller: Caller,
    client: Client,
    progress: InProgress,
    method: str,
    prove: Prove,
    *,
    trust_device: bool = False,
) -> Completed:
    """Take the answer of a step. A right one completes the login or the step-up, exactly once.

    Raises WrongFactor, InvalidSession, TooManyAttempts, and InsufficientAuthorization if one more step is needed.
    """
    caller = on_behalf(caller, progress.step)
    account = await alive(deps, client, progress, method)
    about = About(progress.step.sub, progress.step.session, client.client_id)
    attempt = await _reserved(deps, caller, about, progress.step.sub)
    try:
        step = await _counted(deps, progress)
        proven = await prove(account)
        if proven is None:
            raise WrongFactor()
        await _finished(deps, progress)
        completed = await _completed(deps, caller, client, step, account, proven, trust_device=trust_device)
    except WrongFactor:
        await deps.store.throttle.settle(attempt, right=False)
        await note_lock(deps, attempt, progress.step.sub)
        await audit(deps, caller, Event.FACTOR_FAILED, about, outcome="failure", method=method)
        raise
    except InsufficientAuthorization:  # the answer was right, and one more step is needed
        await _settled(deps, attempt, progress)
        raise
    except AuthError:
        with suppress(StoreUnavailable):
            await deps.store.throttle.settle(attempt, right=None)
        raise
    await _settled(deps, attempt, progress)
    return completed


async def _settled(deps: Deps, attempt: Reservation, progress: InProgress) -> None:
    """Forget a step that was answered rightly. The client has to get its answer, also if the store fails now."""
    with suppress(StoreUnavailable):
        await deps.store.throttle.settle(attempt, right=True)
        await deps.store.steps.delete(progress.token.handle)


async def _reserved(deps: Deps, caller: Caller, about: About, sub: str) -> Reservation:
    """Count a guess before it is looked at. Raises TooManyAttempts."""
    try:
        return await deps.store.throttle.reserve(factor_windows(deps.settings, sub), deps.clock())
    except TooManyAttempts:
        await audit(deps, caller, Event.FACTOR_THROTTLED, about, outcome="failure", kept=False)
        raise


async def _counted(deps: Deps, progress: InProgress) -> Step:
    """Count an answer of this login before it is looked at. Raises InvalidSession after the last one."""

    def counted(step: Step) -> Step:
        if not step.opens_with(progress.token, deps.clock()):
            raise InvalidSession()
        return step.with_attempt()

    return await _changed(deps, progress, counted, durable=False)


async def _finished(deps: Deps, progress: InProgress) -> None:
    """Make this answer the one that completes the login. Raises InvalidSession if another one did."""

    def finished(step: Step) -> Step:
        # Marked first, and deleted later: two callers can delete a record, and only one can write this very mark.
        if step.done:
            raise InvalidSession()
        return step.finished()

    await _changed(deps, progress, finished, durable=True)


async def _changed(deps: Deps, progress: InProgress, change: Callable[[Step], Step], *, durable: bool) -> Step:
    try:
        return await deps.store.steps.change(progress.token.handle, change, durable=durable)
    except NotFound:
        raise InvalidSession() from None


async def _completed(
    deps: Deps,
    caller: Caller,
    client: Client,
    step: Step,
    account: Account,
    proven: tuple[str, ...],
    *,
    trust_device: bool,
) -> Completed:
    left = len(account.factors.codes) if account.factors and account.factors.active else None
    amr = combined(step.proven, proven)
    if step.session is not None:
        await _demand_factor(deps, caller, client, step, account, amr)
        grant = await strengthen(deps, step.session, step.epochs, amr, cookie=step.cookie)
        await audit(deps, caller, Event.SESSION_STEPPED_UP, About(step.sub, step.session, step.client_id), amr=amr)
        return Completed(grant, step.cookie, begins=False, recovery_codes_left=left)
    asked = Asked(step.scope, step.device, step.cookie)
    service = await deps.store.service.get()
    grant = await open_login(deps, caller, account.user, client, service, asked, epochs=step.epochs, amr=amr)
    await _clear(deps, caller, account.user.username)
    device_token = await _trusted(deps, caller, step) if trust_device and step.trusts else None
    return Completed(grant, step.cookie, begins=True, device_token=device_token, recovery_codes_left=left)


async def _demand_factor(
    deps: Deps, caller: Caller, client: Client, step: Step, account: Account, proven: tuple[str, ...]
) -> None:
    """Raise InsufficientAuthorization if the user of a step-up has to have a factor, and has proven a password only."""
    needed = None if account.has_factor else missing(deps, client, None, account)
    if needed is not None and needed.methods != step.methods:
        asked, session = Asked(step.scope, step.device, step.cookie), step.session
        raise await begin(deps, caller, account, client, step.epochs, needed, asked, proven=proven, session=session)


async def _clear(deps: Deps, caller: Caller, username: str | None) -> None:
    """Forget the wrong passwords of this network, and make the network known, as a login by password alone does."""
    if username is None:
        return
    name = normalise(username)
    with suppress(StoreUnavailable):
        in_a_row = [one for one in login_windows(deps.settings, name, caller.ip) if one.limit.in_a_row]
        await deps.store.throttle.clear(in_a_row)
        await deps.store.throttle.note(place_of(name, caller.ip), deps.clock())


async def _trusted(deps: Deps, caller: Caller, step: Step) -> str | None:
    """Trust the device of this login. Returns its token, None if a factor was changed meanwhile."""
    token, now = tokens.new(Kind.DEVICE), deps.clock()
    device = Device(digest=token.digest, until=int(now) + DEVICE_S, epoch=step.epochs.user)

    def trusting(factors: Factors) -> Factors:
        if factors.epoch != step.factors_epoch:
            raise InvalidSession()
        return factors.with_device(device, now)

    try:
        await deps.store.users.name_device(token.handle, step.sub, device.until)
        await deps.store.factors.change(step.sub, trusting, durable=False)
    except (NotFound, InvalidSession, TooManyChanges, StoreUnavailable):
        return None
    await audit(deps, caller, Event.DEVICE_TRUSTED, About(step.sub, client_id=step.client_id), until=device.until)
    return token.text
