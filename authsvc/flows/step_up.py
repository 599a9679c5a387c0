"""Proving something again in a running session, and the calls that take a recent login."""

from authsvc.core.authentication import AAL2
from authsvc.core.client import Client
from authsvc.core.event import Event
from authsvc.core.factors import Account
from authsvc.core.session import Active, Epochs, Session
from authsvc.core.step import ENROL
from authsvc.core.strength import PASSWORD as PWD
from authsvc.core.strength import must_have_factor
from authsvc.core.user import User
from authsvc.errors import (
    AccessDenied,
    InsufficientAuthorization,
    InsufficientUserAuthentication,
    InvalidCredentials,
    InvalidToken,
)
from authsvc.flows.deps import Caller, Deps
from authsvc.flows.grants import Asked
from authsvc.flows.login import AttemptEvents, authenticate, refuse_long
from authsvc.flows.sessions import refuse_if_cut_off
from authsvc.flows.steps import PASSWORD, Needed, Prove, begin, methods_for

_EVENTS = AttemptEvents(Event.FACTOR_FAILED, Event.FACTOR_THROTTLED)


def is_too_weak(deps: Deps, session: Session, user: User, client: Client) -> bool:
    """Whether the policy demands a second factor of this user at this client, and the session has none.

    Such a session gets no new tokens, and no power over others, until the user has enrolled a factor.
    """
    demanded = must_have_factor(user, client, deps.settings.require_factor_for)
    return demanded and not session.authentication(client).reaches(AAL2)


def require_strong(deps: Deps, me: Active) -> None:
    """Raise InsufficientUserAuthentication for a session that the policy finds too weak."""
    if is_too_weak(deps, me.session, me.user, me.client):
        raise InsufficientUserAuthentication(AAL2, deps.settings.recent_login_s)


async def step_up(deps: Deps, caller: Caller, me: Active, *, cookie: bool) -> InsufficientAuthorization:
    """Begin a step-up of this session. An account without a factor proves its password.

    If the policy finds the session too weak, the user then enrols a factor: a recent login need not be repeated first.
    Raises AccessDenied if there is nothing that the user could prove here.
    """
    account = await _account(deps, me)
    methods = _methods(deps, me, account)
    if not methods:
        raise AccessDenied("this account has nothing that could be proven here")
    return await _begun(deps, caller, me, account, methods, cookie=cookie)


async def methods_of(deps: Deps, me: Active) -> tuple[str, ...]:
    """The methods by which a step-up of this session could be completed; empty if there is none."""
    return _methods(deps, me, await _account(deps, me))


def _methods(deps: Deps, me: Active, account: Account) -> tuple[str, ...]:
    if account.has_factor:
        return methods_for(deps, account.factors)
    recent = me.session.authentication(me.client).is_recent(deps.settings.recent_login_s, deps.clock())
    if recent and is_too_weak(deps, me.session, me.user, me.client):
        return (ENROL,)
    return _password_of(me, account)


async def demand_factor(deps: Deps, caller: Caller, me: Active) -> InsufficientAuthorization:
    """Begin the step-up of a session that is too weak for the policy. A user without a factor may only enrol one."""
    account = await _account(deps, me)
    methods = methods_for(deps, account.factors) if account.has_factor else (ENROL,)
    return await _begun(deps, caller, me, account, methods, cookie=False)


async def _begun(
    deps: Deps, caller: Caller, me: Active, account: Account, methods: tuple[str, ...], *, cookie: bool
) -> InsufficientAuthorization:
    # From the moment at which the token was found active. A later cut-off, or change of the password, ends the step-up,
    # although it may spare the session: who holds the old token must not get a new one.
    epochs = Epochs(me.user.epoch, me.client.epoch, me.session.epochs.service)
    asked = Asked(me.session.scope, None, cookie)
    return await begin(deps, caller, account, me.client, epochs, Needed(methods), asked, session=me.handle)


async def _account(deps: Deps, me: Active) -> Account:
    account = await deps.store.users.find_account(me.user.sub)
    if account is None:
        raise InvalidToken("the session has ended")
    refuse_if_cut_off(me, account.user)
    return account


def _password_of(me: Active, account: Account) -> tuple[str, ...]:
    # With the methods of another system and the time of a password here, a session would claim a fresh second factor.
    if me.session.authentication(me.client).vouched_by is not None:
        return ()
    known = account.user.username is not None and account.credentials is not None and account.credentials.hash
    return (PASSWORD,) if known else ()


def proof_by_password(deps: Deps, caller: Caller, password: str) -> Prove:
    """The proof that this is the user's password. A wrong one counts as at a login."""
    refuse_long(password)

    async def prove(account: Account) -> tuple[str, ...] | None:
        service = await deps.store.service.get()
        try:
            proven = await authenticate(deps, caller, service, account.user.username or "", password, _EVENTS)
        except InvalidCredentials:
            return None
        return (PWD,) if proven.user.sub == account.user.sub else None  # another user may have the name now

    return prove


async def require_recent(deps: Deps, me: Active, *, always: bool = False, enrols: bool = False) -> None:
    """Raise InsufficientUserAuthentication unless the user has proven enough a short time ago.

    An account that has a factor proves it. If the policy demands a factor of an account, the account proves it too.
    always: an account without a factor proves its password.
    enrols: as `always`, but without the demand of the policy: the user may be about to add the factor.
    """
    if not enrols:
        require_strong(deps, me)
    max_age, authentication = deps.settings.recent_login_s, me.session.authentication(me.client)
    recent = authentication.is_recent(max_age, deps.clock())
    if recent and authentication.acr == AAL2:
        return
    if "factors" in deps.settings.capabilities and (await _account(deps, me)).has_factor:
        raise InsufficientUserAuthentication(AAL2, max_age)
    if (always or enrols) and not recent:
        raise InsufficientUserAuthentication(max_age=max_age)
