"""Reading all that decisions need, for many callers at once.

Lookups that are waiting in the same turn of the event loop share two round trips: one MGET for their sessions, one for
the users and clients these name. A caller never joins a read that was already sent, so what it gets was read after it
asked; and every record is checked to be the one that was asked for, should replies ever be mixed up.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextvars import Context
from functools import lru_cache
from typing import NamedTuple, TypeVar

from msgspec.json import Decoder

from authsvc.core.client import Client
from authsvc.core.record import Service
from authsvc.core.session import Found, Session
from authsvc.core.user import User
from authsvc.driver.connection import Connection
from authsvc.driver.deadline import current_budget
from authsvc.driver.reader import Reader, Value
from authsvc.errors import CorruptRecord, StoreUnavailable
from authsvc.store import keys
from authsvc.store.encoding import UNREADABLE, load, unreadable

# Two batches travel while the next one gathers: one more would only make them smaller.
MAX_IN_FLIGHT = 2
# A batch is sent when it has this many sessions, though more are waiting; one caller's always travel together. Of
# twice as many each takes longer, for the caches hold them no more.
MAX_SESSIONS = 500

_SESSION, _USER = Decoder(Session), Decoder(User)

R = TypeVar("R")
# A record that does not parse, or is on a node that does not answer, is kept as its error, to be raised for those who
# asked for it and nobody else.
Parsed = dict[str, R | StoreUnavailable]
# The clients that ask, and the sessions.
Read = tuple[Parsed[Client], Parsed[Found]]


class Answer(NamedTuple):
    """At least what was asked for; what is absent has no record. `client_id`: the caller's."""

    client_id: str | None
    clients: Parsed[Client]
    sessions: Parsed[Found]

    def client(self) -> Client | None:
        """The client that asks, None if it is not registered. Raises StoreUnavailable."""
        return None if self.client_id is None else _unless_corrupt(self.clients.get(self.client_id))

    def session(self, handle: str) -> Found | None:
        """Everything about a session, None if there is no record of it. Raises StoreUnavailable."""
        return _unless_corrupt(self.sessions.get(handle))


class _Asked(NamedTuple):
    client_id: str | None
    handles: Collection[str]
    # One future for each caller: cancelling one must not take the answer from another.
    answer: "asyncio.Future[Answer]"
    give_up_at: float


class Lookup:
    """Finds sessions with everything that decides about them: `session:`, then `user:`, `client:` and `service`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._metrics = connection.metrics
        self._within_s = connection.timeouts.request_s
        self._readers = [connection.reader() for _ in range(MAX_IN_FLIGHT)]
        self._waiting: deque[_Asked] = deque()
        self._in_flight: set[asyncio.Task[Read]] = set()
        self._scheduled = False
        # What is read together is no single caller's, and logged without the id of a request.
        self._everybodys = Context()

    async def client(self, client_id: str) -> Client | None:
        """The client with this id. Raises StoreUnavailable."""
        return (await self.sessions(client_id, ())).client()

    async def session(self, handle: str) -> Found | None:
        """Everything about one session, None if there is no record of it. Raises StoreUnavailable."""
        return (await self.sessions(None, (handle,))).session(handle)

    def sessions(self, client_id: str | None, handles: Collection[str]) -> Awaitable[Answer]:
        """Everything about sessions, and the client that asks for them. Awaiting it raises StoreUnavailable."""
        answer = self.ask(client_id, handles)
        return answer if current_budget() is None else _within_budget(answer, self._connection)

    def ask(self, client_id: str | None, handles: Collection[str]) -> "asyncio.Future[Answer]":
        """Like `sessions`, for a caller that does not wait in a task. Bounded by the time of a request."""
        loop = asyncio.get_running_loop()
        asked = _Asked(client_id, handles, loop.create_future(), loop.time() + self._within_s)
        self._waiting.append(asked)
        self._schedule(loop)
        return asked.answer

    async def close(self) -> None:
        for reader in self._readers:
            await reader.close()

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting and not self._scheduled and self._readers:
            self._scheduled = True
            loop.call_soon(self._send, loop, context=self._everybodys)

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        batch: list[_Asked] = []
        room = MAX_SESSIONS
        while self._waiting and room > 0:
            asked = self._waiting.popleft()
            if not asked.answer.done():
                batch.append(asked)
                room -= len(asked.handles)
        if batch:
            self._metrics.lookups_per_round_trip.observe(len(batch))
            reader = self._readers.pop()
            task = loop.create_task(_read(reader, batch))
            self._in_flight.add(task)
            task.add_done_callback(lambda task: self._landed(reader, batch, task))

    def _landed(self, reader: Reader, batch: list[_Asked], task: "asyncio.Task[Read]") -> None:
        self._in_flight.discard(task)
        self._readers.append(reader)
        # Whatever happened, also being cancelled: nobody may be left waiting, and nobody gets a no for it.
        error = StoreUnavailable("the lookup was given up") if task.cancelled() else task.exception()
        for asked in batch:
            if asked.answer.done():
                continue
            if error is not None:
                asked.answer.set_exception(error)
            else:
                asked.answer.set_result(Answer(asked.client_id, *task.result()))
        self._schedule(task.get_loop())


async def _within_budget(answer: "asyncio.Future[Answer]", connection: Connection) -> Answer:
    async with connection.store_call():
        return await answer


async def _read(reader: Reader, batch: list[_Asked]) -> Read:
    callers = {asked.client_id for asked in batch if asked.client_id is not None}
    handles = {handle for asked in batch for handle in asked.handles}
    # The first has waited longest. What can't be known by then is given up for all: an outage costs all the same.
    give_up_at = batch[0].give_up_at
    raw_service, *raws = await reader.mget(
        [keys.SERVICE, *[keys.client(id_) for id_ in callers], *[keys.session(handle) for handle in handles]],
        give_up_at,
    )
    if isinstance(raw_service, StoreUnavailable):
        raise raw_service
    if raw_service is None:
        # Without the service's epoch nobody can say whether a session was cut off.
        raise StoreUnavailable("the store holds no service record")
    service = _service(raw_service)
    asking = _parse(callers, raws[: len(callers)], _client)
    sessions = _parse(handles, raws[len(callers) :], _session)
    if not sessions:
        return asking, {}
    readable = [session for session in sessions.values() if isinstance(session, Session)]
    subs = {session.sub for session in readable}
    ids = {session.client_id for session in readable}
    wanted = [*[keys.user(sub) for sub in subs], *[keys.client(id_) for id_ in ids]]
    read = await reader.mget(wanted, give_up_at) if wanted else []
    users = _parse(subs, read[: len(subs)], _user)
    clients = _parse(ids, read[len(subs) :], _client)
    return asking, {handle: _found(handle, session, users, clients, service) for handle, session in sessions.items()}


def _parse(ids: Collection[str], raws: Sequence[Value], parse: Callable[[bytes, str], R]) -> Parsed[R]:
    parsed: Parsed[R] = {}
    for id_, raw in zip(ids, raws, strict=True):
        if isinstance(raw, StoreUnavailable):
            parsed[id_] = raw
        elif raw is not None:
            try:
                parsed[id_] = parse(raw, id_)
            except StoreUnavailable as error:
                parsed[id_] = error
            except UNREADABLE:
                parsed[id_] = unreadable(raw)
    return parsed


def _found(
    handle: str, session: Session | StoreUnavailable, users: Parsed[User], clients: Parsed[Client], service: Service
) -> Found | StoreUnavailable:
    if isinstance(session, StoreUnavailable):
        return session
    user, client = users.get(session.sub), clients.get(session.client_id)
    if isinstance(user, StoreUnavailable):
        return user
    if isinstance(client, StoreUnavailable):
        return client
    return Found(handle, session, user, client, service)


def _unless_corrupt(record: R | StoreUnavailable | None) -> R | None:
    if isinstance(record, StoreUnavailable):
        raise record
    return record


def _session(raw: bytes, handle: str) -> Session:
    return _SESSION.decode(raw)  # bound to its key by the digest of the token that names it


def _user(raw: bytes, sub: str) -> User:
    user = _USER.decode(raw)
    if user.sub != sub:
        raise CorruptRecord("a user record under another's key")
    return user


# Parsing is a pure function of the bytes, so remembering it makes nothing stale: the bytes are read each time.
@lru_cache(maxsize=256)
def _client(raw: bytes, client_id: str) -> Client:
    client = load(Client, raw)
    if client.client_id != client_id:
        raise CorruptRecord("a client record under another's key")
    return client


@lru_cache(maxsize=2)
def _service(raw: bytes) -> Service:
    return load(Service, raw)
