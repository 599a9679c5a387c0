"""A user's sessions that have a record: how each of them stands, and ending one of them."""

from dataclasses import dataclass
from typing import Any

from authsvc.core.session import Found, Reason, Session, standing
from authsvc.flows.deps import Caller, Deps, doubted, note


@dataclass(frozen=True, slots=True)
class Listed:
    """A session in the list. `dead`: why none of its tokens can be active; None while one can."""

    handle: str
    session: Session
    dead: Reason | None = None


async def roster(deps: Deps, sub: str) -> list[Listed]:
    """The user's sessions, oldest first, the dead ones too."""
    now = deps.clock()
    user = await deps.store.users.find(sub)
    service = await deps.store.service.get()
    present = await deps.store.sessions.listed(sub, now)
    ids = sorted({session.client_id for _, session in present})
    clients = dict(zip(ids, await deps.store.clients.find_all(ids), strict=True))
    return [
        Listed(handle, session, standing(Found(handle, session, user, clients[session.client_id], service), now))
        for handle, session in present
    ]


async def end_session(deps: Deps, caller: Caller, handle: str, session: Session, reason: str) -> None:
    """Delete a session; whoever finds it still there tells the audit trail, and why. Raises NotDurable."""
    about: dict[str, Any] = {"sub": session.sub, "session_id": handle, "client_id": session.client_id, "reason": reason}
    async with doubted(deps, caller, "session.ended", **about):
        ended = await deps.store.sessions.end(handle, session.sub)
    if ended:
        await note(deps, caller, "session.ended", **about)
