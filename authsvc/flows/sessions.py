"""A user's own sessions: listing them, ending one, ending the others, logging out."""

from collections.abc import Callable

from authsvc.core import token as tokens
from authsvc.core.session import Active
from authsvc.core.user import User
from authsvc.errors import InvalidToken, NotFound
from authsvc.flows.deps import Caller, Deps, doubted, note
from authsvc.flows.roster import Listed, end_session, roster


async def alive(deps: Deps, sub: str) -> list[Listed]:
    """The user's live sessions, newest first."""
    return [listed for listed in await roster(deps, sub) if listed.dead is None][::-1]


async def logout(deps: Deps, caller: Caller, me: Active) -> None:
    """End the session of the token that was presented."""
    await end_session(deps, caller, me.handle, me.session, "logout")


async def end_one(deps: Deps, caller: Caller, sub: str, handle: str) -> None:
    """End one of the user's sessions. Raises NotFound, also for somebody else's."""
    session = await deps.store.sessions.find(handle) if tokens.is_handle(handle) else None
    if session is None and tokens.is_handle(handle):
        await deps.store.sessions.ensure_absent(handle)
    if session is None or session.sub != sub:
        raise NotFound("no such session")
    await end_session(deps, caller, handle, session, "ended by its owner")


async def end_others(deps: Deps, caller: Caller, me: Active) -> None:
    """End every session of the user but this one, including logins and refreshes in flight, in one write."""
    now = deps.clock()

    def change(user: User) -> User:
        refuse_if_cut_off(me, user)
        return user.cut_off(now, sparing=me.handle)

    user = await _change(deps, me, change)
    deps.store.sessions.delete_cut_off(user.sub, user.epoch, keep=me.handle)
    await note(
        deps,
        caller,
        "user.cut_off",
        sub=user.sub,
        reason="the others",
        details={"epoch": user.epoch, "spared": me.handle},
    )


async def end_all(deps: Deps, caller: Caller, me: Active) -> None:
    """End every session of the user, this one too."""
    now = deps.clock()
    async with doubted(deps, caller, "user.cut_off", sub=me.user.sub, reason="everywhere"):
        user = await _change(deps, me, lambda user: user.cut_off(now))
    deps.store.sessions.delete_cut_off(user.sub, user.epoch)
    await note(deps, caller, "user.cut_off", sub=user.sub, reason="everywhere", details={"epoch": user.epoch})


async def _change(deps: Deps, me: Active, change: Callable[[User], User]) -> User:
    try:
        return await deps.store.users.change(me.user.sub, change)
    except NotFound:
        raise InvalidToken("the session has ended") from None  # with its user


def refuse_if_cut_off(me: Active, user: User) -> None:
    """Raise InvalidToken if this session was ended since it was looked up: it can't be spared any more."""
    if user.status != "active" or not user.admits(me.handle, me.session.epochs.user):
        raise InvalidToken("the session has ended")
