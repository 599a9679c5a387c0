"""Lists the newest live sessions for admins, of all users or of one client, with their number."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from authsvc.core.client import Client
from authsvc.core.record import Service
from authsvc.core.session import Found, inactive_reason
from authsvc.core.user import User
from authsvc.flows.all_sessions import Count, Live
from authsvc.flows.deps import Deps
from authsvc.store.newest import MOST, Cursor

# How many entries of the index one page looks at, and how many a count reads at a time.
MOST_LOOKED_AT = 1000
_STEP = 1000
# How many entries a page reads at least at a time: many of them may be stale.
_LEAST = 200


class SessionPage(NamedTuple):
    """Live sessions, newest first, and the cursor of the next page. A page may be short, or empty, before the end.

    clients: by the ids in the sessions. live: how many there are, on the first page only. It is not whole if there may
    be more sessions than it says: more than the newest 10,000, or the index is being filled after an upgrade.
    """

    sessions: list[Live]
    clients: Mapping[str, Client]
    next: str | None
    live: Count | None


async def page(
    deps: Deps, *, client_id: str | None = None, since: float | None = None, cursor: str | None = None, limit: int = 100
) -> SessionPage:
    """One page of the live sessions. since: epoch seconds; only sessions that began then or later."""
    since_ms = 0 if since is None else int(since * 1000)
    after = None if cursor is None else Cursor.parse(cursor)
    service = await deps.store.service.get()
    clients: dict[str, Client | None] = {}
    found: list[Live] = []
    last, looked_at = False, 0
    while not last and len(found) < limit and looked_at < MOST_LOOKED_AT:
        size = max(limit - len(found), _LEAST)
        entries, last = await deps.store.newest.read(client_id, since_ms=since_ms, after=after, limit=size)
        live = {one.handle: one for one in await _live(deps, [entry.handle for entry in entries], clients, service)}
        for entry in entries:
            if len(found) == limit:
                last = False
                break
            after = entry.behind(after)
            found += [live[entry.handle]] if entry.handle in live else []
        looked_at += len(entries)
    count = await _count(deps, client_id, since_ms, service) if cursor is None else None
    known = {id_: client for id_, client in clients.items() if client is not None}
    return SessionPage(found, known, None if last or after is None else str(after), count)


def is_cursor(text: str) -> bool:
    """Whether this service can have named the cursor."""
    return Cursor.PATTERN.fullmatch(text) is not None


async def _live(deps: Deps, handles: Sequence[str], clients: dict[str, Client | None], service: Service) -> list[Live]:
    """The live ones among these sessions, in their order. clients: the known clients; others are read and added."""
    found = zip(handles, await deps.store.sessions.find_all(handles), strict=True)
    present = [(handle, session) for handle, session in found if session is not None]
    users = await _users(deps, {session.sub for _, session in present})
    await _learn(deps, clients, {session.client_id for _, session in present})
    now = deps.clock()
    live = []
    for handle, session in present:
        user = users[session.sub]
        reason = inactive_reason(Found(handle, session, user, clients[session.client_id], service), now)
        if reason is None and user is not None:
            live.append(Live(handle, session, user))
    return live


async def _users(deps: Deps, subs: Iterable[str]) -> dict[str, User | None]:
    wanted = list(subs)
    return dict(zip(wanted, await deps.store.users.find_all(wanted), strict=True))


async def _learn(deps: Deps, clients: dict[str, Client | None], ids: set[str]) -> None:
    missing = list(ids - clients.keys())
    clients |= zip(missing, await deps.store.clients.find_all(missing), strict=True)


async def _count(deps: Deps, client_id: str | None, since_ms: int, service: Service) -> Count:
    """How many live sessions the index lists."""
    handles = await deps.store.newest.all(client_id, since_ms)
    clients: dict[str, Client | None] = {}
    live = 0
    for at in range(0, len(handles), _STEP):
        live += len(await _live(deps, handles[at : at + _STEP], clients, service))
    filled = await deps.store.indexes.filled_at() is not None
    return Count(live, whole=filled and len(handles) < MOST)
