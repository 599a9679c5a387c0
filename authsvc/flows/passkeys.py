"""Passkeys: registering one, proving one in a step of a login, and logging in by passkey alone."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from authsvc import passkeys
from authsvc.core import passkey as rules
from authsvc.core import scope as scopes
from authsvc.core import token as tokens
from authsvc.core.client import Client
from authsvc.core.event import About, Event
from authsvc.core.factors import Account, Factors
from authsvc.core.passkey import Assertion, Challenge, Passkey, Registration, RelyingParty
from authsvc.core.record import Service
from authsvc.core.session import Epochs
from authsvc.core.token import Kind, Token
from authsvc.errors import (
    InvalidCredentials,
    InvalidRequest,
    InvalidSession,
    InvalidToken,
    NotFound,
    StoreUnavailable,
    TooManyAttempts,
)
from authsvc.flows.attempts import address_windows, passkey_windows
from authsvc.flows.deps import Caller, Deps, audit
from authsvc.flows.factors import Guard, change, new_codes
from authsvc.flows.grants import Asked, Grant, open_login
from authsvc.flows.steps import Prove
from authsvc.passkeys import Refused, WrongSignature

_ASK_FIRST = "there is no challenge to answer: ask for options first"


@dataclass(frozen=True, slots=True)
class Added:
    """A new passkey. recovery_codes: if it is the user's first factor; shown this once."""

    passkey: Passkey
    amr: tuple[str, ...]
    recovery_codes: tuple[str, ...] = field(repr=False, default=())


class NewAnswer(NamedTuple):
    """The answer to creation options. name: as the user calls the passkey."""

    registration: Registration
    name: str | None
    transports: tuple[str, ...]


class Begun(NamedTuple):
    """A login by passkey alone that waits for its answer."""

    auth_session: str
    options: dict[str, Any]


def _party(deps: Deps) -> RelyingParty:
    party = deps.settings.relying_party
    if party is None:  # for the type checker: without one, no route leads here
        raise InvalidRequest("this service has no passkeys")
    return party


async def creation_options(deps: Deps, guard: Guard, of: str, sub: str) -> dict[str, Any]:
    """Begin to register a passkey. of: the handle of the session or the login in progress that does so.

    Raises what `guard` raises, and InvalidRequest if the user has too many.
    """
    account = await deps.store.users.find_account(sub)
    if account is None:
        raise InvalidToken("the user was deleted")
    guard(account)
    factors = account.factors or Factors()
    _refuse_more(factors)
    challenge = rules.new_challenge(deps.clock(), user_handle=factors.user_handle or rules.new_user_handle())
    await deps.store.challenges.put(of, challenge)
    name, site = account.user.username or account.user.sub, deps.settings.app_title
    return rules.creation_options(_party(deps), challenge, name=name, site=site, held=factors.passkeys)


async def register(deps: Deps, caller: Caller, guard: Guard, of: str, answer: NewAnswer, sub: str) -> Added:
    """Add the passkey that answers the challenge. The first factor brings recovery codes.

    Raises InvalidRequest, and what `guard` raises.
    """
    now = deps.clock()
    challenge = await deps.store.challenges.take(of, deps.clock())
    if challenge is None or challenge.user_handle is None:
        raise InvalidRequest(_ASK_FIRST)
    handle = challenge.user_handle
    try:
        made = passkeys.registered(_party(deps), challenge.challenge, answer.registration)
    except Refused as refused:
        raise InvalidRequest(f"credential: {refused}") from refused
    passkey = Passkey(
        id=tokens.new_handle(),
        name=answer.name,
        created_at=int(now),
        credential=rules.encoded(made.credential),
        key=rules.encoded(made.key),
        counter=made.counter,
        synced=made.synced,
        transports=answer.transports,
    )
    plain, stored = new_codes(sub)
    first = False

    def adding(factors: Factors) -> Factors:
        nonlocal first
        _refuse_more(factors)
        if factors.user_handle not in (None, handle):
            raise InvalidRequest("the first passkey was added meanwhile: ask for options again")
        if any(held.credential == passkey.credential for held in factors.passkeys):
            raise InvalidRequest("credential: this passkey is registered already")
        first = not factors.active
        added = factors.with_passkey(passkey, handle, now)
        return added.with_codes(stored, now) if first else added

    # The index comes first: without it the passkey could not log in alone. A stale entry lets nobody in.
    await deps.store.users.name_handle(handle, sub)
    await change(deps, sub, guard, adding)
    await audit(deps, caller, Event.FACTOR_ADDED, About(sub), kind="passkey", factor=passkey.id)
    return Added(passkey, rules.amr_of(synced=made.synced, verified=made.verified), plain if first else ())


class ProofByRegistration:
    """The proof of a login in which the user registers the first factor."""

    def __init__(self, register: Callable[[str], Awaitable[Added]]) -> None:
        self._register = register
        self.recovery_codes: tuple[str, ...] = ()

    async def __call__(self, account: Account) -> tuple[str, ...]:
        added = await self._register(account.user.sub)
        self.recovery_codes = added.recovery_codes
        return added.amr


async def step_options(deps: Deps, of: str, account: Account) -> dict[str, Any]:
    """Ask a user who is known for one of the own passkeys. of: the handle of the login in progress."""
    factors = account.factors or Factors()
    challenge = rules.new_challenge(deps.clock())
    await deps.store.challenges.put(of, challenge)
    return rules.request_options(_party(deps), challenge, held=factors.passkeys)


def proof_by_passkey(deps: Deps, of: str, answer: Assertion) -> Prove:
    """The proof that one of the user's passkeys has answered the challenge. The challenge counts once."""

    async def prove(account: Account) -> tuple[str, ...] | None:
        challenge = await deps.store.challenges.take(of, deps.clock())
        if challenge is None:
            return None
        return await _proven(deps, account, challenge, answer)

    return prove


async def begin_login(deps: Deps, caller: Caller) -> Begun:
    """Begin a login by passkey alone. Nobody has proven anything, so it is limited for each address.

    Raises TooManyAttempts.
    """
    now, token = deps.clock(), tokens.new(Kind.LOGIN)
    attempt = await deps.store.throttle.reserve(passkey_windows(deps.settings, caller.ip), now)
    async with deps.store.throttle.release_on_failure(attempt):
        challenge = rules.new_challenge(now, digest=token.digest)
        if not await deps.store.challenges.create(token.handle, challenge):
            raise StoreUnavailable("no free handle")  # a collision in 71 bits: something else is wrong
    await deps.store.throttle.settle(attempt, right=False)
    return Begun(token.text, rules.request_options(_party(deps), challenge, held=None))


async def is_alone(deps: Deps, auth_session: str) -> bool:
    """Whether this is a login by passkey alone, which no password has begun."""
    token = tokens.parse(auth_session, Kind.LOGIN)
    challenge = None if token is None else await deps.store.challenges.find(token.handle)
    return token is not None and challenge is not None and _begun_by(challenge, token)


async def login(
    deps: Deps, caller: Caller, client: Client, service: Service, auth_session: str, answer: Assertion, asked: Asked
) -> Grant:
    """Open a session for the user whom the passkey names and the authenticator has verified.

    client, service: as read before the call. A cut-off since then ends the session of this login too.
    Raises InvalidSession, InvalidCredentials, TooManyAttempts, InvalidScope, InvalidRequest.
    """
    granted = scopes.within(asked.scope, client.widest_scope(deps.settings.app_scope))
    token = tokens.parse(auth_session, Kind.LOGIN)
    if token is None:
        raise InvalidSession()
    attempt = await _reserved(deps, caller)
    async with deps.store.throttle.release_on_failure(attempt):
        challenge = await deps.store.challenges.take(token.handle, deps.clock())
        if challenge is None or not _begun_by(challenge, token):
            raise InvalidSession()
        account = await _named(deps, answer)
        amr = None if account is None else await _proven(deps, account, challenge, answer, alone=True)
    await deps.store.throttle.settle(attempt, right=amr is not None)
    if account is None or amr is None:
        about = About(account.user.sub if account else None)
        await audit(deps, caller, Event.LOGIN_FAILED, about, outcome="failure", method="passkey")
        raise InvalidCredentials("this passkey logs nobody in")
    epochs = Epochs.of(account.user, client, service)
    asked = Asked(granted, asked.device, asked.cookie)
    return await open_login(deps, caller, account.user, client, service, asked, epochs=epochs, amr=amr)


async def _reserved(deps: Deps, caller: Caller) -> Any:
    try:
        return await deps.store.throttle.reserve(address_windows(deps.settings, caller.ip), deps.clock())
    except TooManyAttempts:
        await audit(deps, caller, Event.LOGIN_THROTTLED, outcome="failure", kept=False)
        raise


async def _named(deps: Deps, answer: Assertion) -> Account | None:
    """The active user whose handle the authenticator has sent."""
    if not answer.user_handle:
        return None
    handle = rules.encoded(answer.user_handle)
    account = await deps.store.users.find_by_handle(handle)
    return account if account is not None and account.user.status == "active" else None


async def _proven(
    deps: Deps, account: Account, challenge: Challenge, answer: Assertion, *, alone: bool = False
) -> tuple[str, ...] | None:
    """What the answer proves; None if it is not that of a passkey of this user.

    alone: nothing else was proven, so the authenticator has to verify its user. Raises InvalidRequest for an answer to
    something else, InvalidSession if a factor was changed meanwhile.
    """
    factors = account.factors or Factors()
    passkey = factors.passkey_of(rules.encoded(answer.credential))
    sent = answer.user_handle and rules.encoded(answer.user_handle)
    if passkey is None or (sent and sent != factors.user_handle):
        return None
    try:
        said = passkeys.asserted(_party(deps), challenge.challenge, passkey, answer)
    except WrongSignature:
        return None
    except Refused as refused:
        raise InvalidRequest(f"credential: {refused}") from refused
    if alone and not said.verified:
        return None

    def used(held: Factors) -> tuple[Factors, bool]:
        if held.epoch != account.factors_epoch:
            raise InvalidSession()
        now_held = held.passkey_of(passkey.credential)
        if now_held is None or not now_held.accepts(said.counter, synced=said.synced):
            return held, False
        return held.with_passkey_used(now_held.used(said.counter, deps.clock())), True

    try:
        _, right = await deps.store.factors.step(account.user.sub, used)
    except NotFound:
        raise InvalidSession() from None
    return rules.amr_of(synced=said.synced, verified=said.verified) if right else None


def _begun_by(challenge: Challenge, token: Token) -> bool:
    return challenge.digest is not None and tokens.is_same_digest(challenge.digest, token.digest)


def _refuse_more(factors: Factors) -> None:
    if len(factors.passkeys) >= rules.MAX_PASSKEYS:
        raise InvalidRequest(f"an account has at most {rules.MAX_PASSKEYS} passkeys: remove one first")
