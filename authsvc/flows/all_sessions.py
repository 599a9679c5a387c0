"""The live sessions of all users: listing them, and counting those that a cut-off ended.

There is no index of all sessions, which every login would have to write. So both walk over the keys of the store.
"""

import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from authsvc.core.client import Client
from authsvc.core.record import Service
from authsvc.core.session import Found, Session, inactive_reason
from authsvc.core.user import User
from authsvc.flows.deps import Deps

# Who waits for a number waits for a walk over at most 200,000 keys, which takes some seconds.
_MOST_STEPS = 200

LookedAt = Callable[[int], None]
R = TypeVar("R")


class Live(NamedTuple):
    """A session that can have an active token."""

    handle: str
    session: Session
    user: User  # or what stands for a client that speaks for itself


class Newest(NamedTuple):
    """The newest live sessions, newest first. live: how many there are in all."""

    sessions: list[Live]
    live: int


class Count(NamedTuple):
    """A number of sessions. whole: False if the walk ended early, so that there may be more."""

    sessions: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """The sessions that are asked for.

    client_id: only sessions of this client. client, service: decide with these records, as they were before a cut-off,
    and not with those in the store. So what the cut-off ended still counts as live.
    """

    client_id: str | None = None
    client: Client | None = None
    service: Service | None = None


async def newest(deps: Deps, *, client_id: str | None, limit: int, looked_at: LookedAt) -> Newest:
    """The newest live sessions, of one client or of all. Memory does not grow with the number of sessions.

    looked_at: called with the number of sessions that were read so far.
    """
    kept: list[Live] = []
    live = 0
    pages, _ = await deps.store.listing.session_handles()
    async for page in _live(deps, pages, Asked(client_id=client_id), looked_at):
        live += len(page)
        kept = heapq.nlargest(limit, [*kept, *page], key=lambda one: (one.session.created_ms, one.handle))
    return Newest(kept, live)


async def count(deps: Deps, asked: Asked = Asked()) -> Count:
    """Count the live sessions, in a walk of bounded length."""
    pages, whole = await deps.store.listing.session_handles(_MOST_STEPS)
    live = 0
    async for page in _live(deps, pages, asked, lambda _: None):
        live += len(page)
    return Count(live, whole)


async def _live(deps: Deps, pages: Iterable[list[str]], asked: Asked, looked_at: LookedAt) -> AsyncIterator[list[Live]]:
    """The live sessions of each page of handles."""
    service = asked.service or await deps.store.service.get()
    clients: dict[str, Client | None] = {asked.client.client_id: asked.client} if asked.client else {}
    read = 0
    for handles in pages:
        read_now = zip(handles, await deps.store.sessions.find_all(handles), strict=True)
        sessions = [
            (handle, session)
            for handle, session in read_now
            if session is not None and asked.client_id in (None, session.client_id)
        ]
        read += len(handles)
        users = await _by_id(deps.store.users.find_all, {session.sub for _, session in sessions})
        missing = {session.client_id for _, session in sessions} - clients.keys()
        clients |= await _by_id(deps.store.clients.find_all, missing)
        now = deps.clock()
        live = []
        for handle, session in sessions:
            found = Found(handle, session, users[session.sub], clients[session.client_id], service)
            if inactive_reason(found, now) is None and (owner := found.owner) is not None:
                live.append(Live(handle, session, owner))
        looked_at(read)
        yield live


async def _by_id(
    find_all: Callable[[Sequence[str]], Awaitable[list[R | None]]], ids: Iterable[str]
) -> dict[str, R | None]:
    wanted = list(ids)
    return dict(zip(wanted, await find_all(wanted), strict=True))
