"""A user's sessions: listing them, ending one, ending the others, logging out."""

from collections.abc import Callable
from dataclasses import dataclass

from authsvc.core import token as tokens
from authsvc.core.event import About, Event
from authsvc.core.reason import Reason
from authsvc.core.session import KEY, Active, Found, Session, inactive_reason
from authsvc.core.user import User
from authsvc.errors import InvalidToken, NotFound
from authsvc.flows.deps import Caller, Deps, audit, audit_if_not_durable, require_power_over


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """A session in a list. `reason`: why none of its tokens can be active; None while one can."""

    handle: str
    session: Session
    reason: Reason | None = None


async def list_sessions(deps: Deps, sub: str) -> list[SessionStatus]:
    """The user's sessions that have a record, oldest first, the inactive ones too."""
    return await with_reasons(deps, sub, await deps.store.sessions.listed(sub, deps.clock()))


async def with_reasons(deps: Deps, sub: str, present: list[tuple[str, Session]]) -> list[SessionStatus]:
    """These sessions of the user, with the reasons why some are inactive."""
    now = deps.clock()
    user = await deps.store.users.find(sub)
    service = await deps.store.service.get()
    ids = sorted({session.client_id for _, session in present})
    clients = dict(zip(ids, await deps.store.clients.find_all(ids), strict=True))

    def status(handle: str, session: Session) -> SessionStatus:
        found = Found(handle, session, user, clients[session.client_id], service)
        return SessionStatus(handle, session, inactive_reason(found, now))

    return [status(handle, session) for handle, session in present]


async def list_active(deps: Deps, sub: str) -> list[SessionStatus]:
    """The user's active sessions, newest first."""
    return [one for one in await list_sessions(deps, sub) if one.reason is None][::-1]


async def logout(deps: Deps, caller: Caller, me: Active) -> None:
    """End the session of the token that was presented."""
    await end_session(deps, caller, me.handle, me.session, "logout")


async def end_one(deps: Deps, caller: Caller, sub: str, handle: str) -> None:
    """End one of the user's sessions. Raises NotFound, also for somebody else's, and for a key."""
    session = await deps.store.sessions.find(handle) if tokens.is_handle(handle) else None
    if session is None and tokens.is_handle(handle):
        await deps.store.sessions.ensure_absent(handle)
    if session is None or session.sub != sub or session.token_use is not None:
        raise NotFound("no such session")
    await end_session(deps, caller, handle, session, "ended by its owner")


async def end_session(deps: Deps, caller: Caller, handle: str, session: Session, reason: str) -> None:
    """Delete a session. Only the call that really deleted it writes the audit event. Raises NotDurable."""
    about = About(session.sub, handle, session.client_id)
    event = Event.KEY_REVOKED if session.origin == KEY else Event.SESSION_ENDED
    async with audit_if_not_durable(deps, caller, event, about, reason=reason):
        ended = await deps.store.sessions.end(handle, session)
    if ended:
        await audit(deps, caller, event, about, reason=reason)


async def end_others(deps: Deps, caller: Caller, me: Active) -> None:
    """End every session of the user but this one, including logins and refreshes in flight, in one write."""
    now = deps.clock()
    listed = await deps.store.sessions.count(me.user.sub, now)

    def change(user: User) -> tuple[User, bool]:
        refuse_if_cut_off(me, user)
        # Of many calls at the same time, only the first one ends sessions.
        return user.cut_off(now, sparing=me.handle), listed > 1 and user.epoch == me.user.epoch

    user, ended = await _change(deps, me, change)
    deps.store.sessions.delete_cut_off(user)
    about = About(user.sub)
    spared = me.handle
    await audit(
        deps, caller, Event.USER_CUT_OFF, about, reason="the others", ended=ended, epoch=user.epoch, spared=spared
    )


async def end_all(deps: Deps, caller: Caller, me: Active) -> None:
    """End every session of the user, this one too."""
    now = deps.clock()
    about = About(me.user.sub)

    def change(user: User) -> tuple[User, bool]:
        return user.cut_off(now), user.admits(me.handle, me.session.epochs.user)

    async with audit_if_not_durable(deps, caller, Event.USER_CUT_OFF, about, reason="everywhere"):
        user, ended = await _change(deps, me, change)
    deps.store.sessions.delete_cut_off(user)
    await audit(deps, caller, Event.USER_CUT_OFF, about, reason="everywhere", ended=ended, epoch=user.epoch)


async def cut_off(deps: Deps, caller: Caller, sub: str, change: Callable[[User], User]) -> User:
    """Let an admin raise an epoch of a user, and return the user. change: raises the epoch.

    What that ended is deleted in the background. Raises NotFound, AccessDenied.
    """

    def checked(user: User) -> User:
        require_power_over(deps, caller, user)
        return change(user)

    user = await deps.store.users.change(sub, checked, first=True)
    deps.store.sessions.delete_cut_off(user)
    return user


async def _change(deps: Deps, me: Active, change: Callable[[User], tuple[User, bool]]) -> tuple[User, bool]:
    """The changed user, and whether that ended a session."""
    try:
        return await deps.store.users.step(me.user.sub, change)
    except NotFound:
        raise InvalidToken("the session has ended") from None  # the user was deleted


def refuse_if_cut_off(me: Active, user: User) -> None:
    """Raise InvalidToken if this session ended after it was looked up: then it must not be spared any more."""
    if user.status != "active" or not user.admits(me.handle, me.session.epochs.user):
        raise InvalidToken("the session has ended")
