"""Changing a password, and setting one with a reset code."""

from typing import Any

from authsvc.core import issuing
from authsvc.core import password as passwords
from authsvc.core import token as tokens
from authsvc.core.event import About, Event
from authsvc.core.issuing import Pair
from authsvc.core.session import Active, Session
from authsvc.core.token import Kind, Token
from authsvc.core.user import Credentials, ResetCode, User
from authsvc.core.username import normalise
from authsvc.errors import (
    InvalidCredentials,
    InvalidGrant,
    InvalidRequest,
    InvalidToken,
    NotFound,
    WrongPassword,
)
from authsvc.flows.attempts import address_windows, login_windows, place_of
from authsvc.flows.deps import Caller, Deps, audit, audit_if_not_durable
from authsvc.flows.grants import Grant
from authsvc.flows.login import AttemptEvents, authenticate, refuse_long
from authsvc.flows.sessions import refuse_if_cut_off

_INVALID_CODE = "the reset code is not valid"


def check_policy(deps: Deps, password: str, username: str | None) -> None:
    """Raise WeakPassword unless the password may be set for this user."""
    context = (*deps.settings.password_context, *((username,) if username else ()))
    passwords.check(password, min_length=deps.settings.password_min_length, context=context)


async def change_password(
    deps: Deps, caller: Caller, me: Active, current: str, new: str, *, cookie: bool = False, end_keys: bool = False
) -> Grant:
    """Set a new password. Every other session ends, and this session gets fresh tokens. end_keys: the user's keys end.

    Raises WrongPassword (which counts as a failed login), WeakPassword, TooManyAttempts, Overloaded, InvalidToken.
    """
    username = me.user.username
    if username is None:
        raise InvalidRequest("this user has no password here")
    refuse_long(current)
    check_policy(deps, new, username)
    try:
        events = AttemptEvents(Event.PASSWORD_CHANGE_FAILED, Event.PASSWORD_CHANGE_THROTTLED)
        service = await deps.store.service.get()
        user, verified, _ = await authenticate(deps, caller, service, username, current, events)
    except InvalidCredentials:
        raise WrongPassword("the current password is wrong") from None
    if user.sub != me.user.sub:
        raise InvalidToken("the session has ended")  # another user has the name now
    hashed = await deps.hasher.hash(new)
    now = deps.clock()
    about = About(user.sub, me.handle)

    def change(user: User, credentials: Credentials | None) -> tuple[User, Credentials]:
        refuse_if_cut_off(me, user)
        if credentials is None or verified is None or credentials.hash != verified.hash:
            raise WrongPassword("the current password is wrong")  # another call changed it meanwhile
        return user.cut_off(now, sparing=me.handle, end_keys=end_keys), credentials.with_password(hashed, now)

    try:
        async with audit_if_not_durable(deps, caller, Event.PASSWORD_CHANGED, about):
            changed = await deps.store.users.swap_both(user.sub, change)
    except NotFound:
        raise InvalidToken("the session has ended") from None  # the user was deleted
    session, pair = await _renew(deps, me, cookie=cookie)
    deps.store.sessions.delete_cut_off(changed)
    details: dict[str, Any] = {"keys": True} if end_keys else {}
    await audit(deps, caller, Event.PASSWORD_CHANGED, about, epoch=changed.epoch, spared=me.handle, **details)
    return Grant.of(me.handle, session, pair, now)


async def _renew(deps: Deps, me: Active, *, cookie: bool) -> tuple[Session, Pair]:
    now = deps.clock()

    def renewed(session: Session) -> tuple[Session, Pair]:
        lifetimes = me.client.lifetimes(refreshable=session.refresh is not None, cookie=cookie)
        return issuing.reissue_tokens(session, me.handle, now=now, lifetimes=lifetimes)

    try:
        # First, because the password is changed already.
        return await deps.store.sessions.step(me.handle, renewed, first=True)
    except NotFound:
        raise InvalidToken("the password was changed; the session has ended") from None


async def new_reset_code(deps: Deps, caller: Caller, sub: str, *, life_s: int | None = None) -> tuple[str, int]:
    """Make the one reset code of the user; earlier codes stop working. Returns the code and its lifetime in seconds.

    life_s: the lifetime; None: AUTHSVC_RESET_CODE_TTL_S.
    Raises NotFound, InvalidRequest.
    """
    user = await deps.store.users.get(sub)
    if user.username is None:
        raise InvalidRequest("this user has no username to log in with")
    code, life_s = await store_reset_code(deps, sub, by_admin=caller.level == "admin", life_s=life_s)

    def change(user: User, credentials: Credentials | None) -> tuple[User, Credentials]:
        return user, (credentials or Credentials()).with_reset_code(code.handle)

    await deps.store.users.swap_both(sub, change, first=True)
    await audit(deps, caller, Event.PASSWORD_RESET_CODE, About(sub), code=code.handle)
    return code.text, life_s


async def require_reset(deps: Deps, caller: Caller, sub: str) -> None:
    """Remove the password and end every session. Only a reset code lets the user in again. Raises NotFound."""
    now = deps.clock()

    def change(user: User, credentials: Credentials | None) -> tuple[User, Credentials | None]:
        return user.cut_off(now), credentials and credentials.without_password(now)

    changed = await deps.store.users.swap_both(sub, change, first=True)
    deps.store.sessions.delete_cut_off(changed)
    await audit(deps, caller, Event.PASSWORD_RESET_REQUIRED, About(sub), epoch=changed.epoch)


async def store_reset_code(
    deps: Deps, sub: str, *, by_admin: bool = True, life_s: int | None = None
) -> tuple[Token, int]:
    """Store a code and return it with its lifetime in seconds. It works once the user's credentials name it."""
    code = tokens.new(Kind.RESET)
    life_s = life_s or deps.settings.reset_code_ttl_s
    until = int(deps.clock()) + life_s
    await deps.store.codes.create(code.handle, ResetCode(sub=sub, digest=code.digest, until=until, by_admin=by_admin))
    return code, life_s


async def _check_code(deps: Deps, caller: Caller, code: Token) -> ResetCode:
    """Return the record of a valid code. Throttled. Raises InvalidGrant, TooManyAttempts."""
    attempt = await deps.store.throttle.reserve(address_windows(deps.settings, caller.ip), deps.clock())
    async with deps.store.throttle.release_on_failure(attempt):
        # A store that was emptied holds no codes either, which says nothing about this code.
        await deps.store.service.get()
        record = await deps.store.codes.find(code.handle)
    valid = record is not None and tokens.is_same_digest(record.digest, code.digest) and deps.clock() < record.until
    await deps.store.throttle.settle(attempt, right=valid)
    if record is None or not valid:
        await audit(deps, caller, Event.PASSWORD_RESET, outcome="failure")
        raise InvalidGrant(_INVALID_CODE)
    return record


async def reset_password(deps: Deps, caller: Caller, presented: str, new: str) -> None:
    """Set a password with a reset code, which works once. Every session of the user ends.

    Raises InvalidGrant, WeakPassword (the code still works), TooManyAttempts, Overloaded.
    """
    code = tokens.parse(presented, Kind.RESET)
    if code is None:
        raise InvalidGrant(_INVALID_CODE)
    record = await _check_code(deps, caller, code)
    user = await deps.store.users.find(record.sub)
    if user is None:
        raise InvalidGrant(_INVALID_CODE)
    check_policy(deps, new, user.username)
    hashed = await deps.hasher.hash(new)
    now = deps.clock()

    def change(user: User, credentials: Credentials | None) -> tuple[User, Credentials]:
        if credentials is None or credentials.reset_code != code.handle:
            raise InvalidGrant(_INVALID_CODE)  # it was used or replaced meanwhile
        if deps.settings.powers.over(user.roles) and not record.by_admin:
            raise InvalidGrant(_INVALID_CODE)  # the user got power over others after a help desk made the code
        return user.cut_off(now), credentials.with_password(hashed, now)

    try:
        async with audit_if_not_durable(deps, caller, Event.PASSWORD_RESET, About(user.sub)):
            changed = await deps.store.users.swap_both(record.sub, change)
    except NotFound:
        raise InvalidGrant(_INVALID_CODE) from None
    await deps.store.codes.delete(code.handle)
    if changed.username is not None:
        await _open_here(deps, caller, normalise(changed.username))
    deps.store.sessions.delete_cut_off(changed)
    await audit(deps, caller, Event.PASSWORD_RESET, About(changed.sub), epoch=changed.epoch)


async def _open_here(deps: Deps, caller: Caller, name: str) -> None:
    """Let the user log in from this network at once. Elsewhere locks stay, or they would tell of the reset."""
    windows = login_windows(deps.settings, name, caller.ip)
    await deps.store.throttle.clear(windows[:2])
    await deps.store.throttle.note(place_of(name, caller.ip), deps.clock())
