"""Reading the records that decisions about tokens need, for many callers in the same round trips.

Lookups that wait in the same turn of the event loop share two round trips: one MGET for their sessions, and one for the
users and clients of these sessions. A caller never joins a read that is already sent, so its records are read after it
asked. Every record is checked to belong to its key, in case replies were ever mixed up.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from contextvars import Context
from functools import lru_cache, partial
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

log = logging.getLogger(__name__)

# Two batches are in flight while the next one gathers. A third would only make the batches smaller.
MAX_IN_FLIGHT = 2
# The sessions in a batch; those of one caller are never split. In batches of twice that size each session takes longer,
# because the batch no longer fits into the caches of the processor.
MAX_SESSIONS = 500

_SESSION, _USER = Decoder(Session), Decoder(User)

R = TypeVar("R")
# Records by id. An error stands for a record that does not parse, or whose node does not answer. Only callers of that
# record get the error.
Parsed = dict[str, R | StoreUnavailable]
# The calling clients, and the sessions.
Read = tuple[Parsed[Client], Parsed[Found]]


class Answer(NamedTuple):
    """The records that a caller asked for, and others. client_id: of the caller. An absent id has no record."""

    client_id: str | None
    clients: Parsed[Client]
    sessions: Parsed[Found]

    def client(self) -> Client | None:
        """The calling client, None if it is not registered. Raises StoreUnavailable."""
        return None if self.client_id is None else _unless_error(self.clients.get(self.client_id))

    def session(self, handle: str) -> Found | None:
        """Everything about a session, None if there is no record of it. Raises StoreUnavailable."""
        return _unless_error(self.sessions.get(handle))


# Gets the answer, or the error in its place.
Hear = Callable[[Answer | BaseException], None]


class Question:
    """What one caller asked. give_up_at: on the event loop's clock."""

    __slots__ = ("client_id", "give_up_at", "handles", "hear")

    def __init__(self, client_id: str | None, handles: Collection[str], hear: Hear, give_up_at: float) -> None:
        self.client_id = client_id
        self.handles = handles
        self.hear: Hear | None = hear
        self.give_up_at = give_up_at

    def cancel(self) -> None:
        """Drop the question: its caller hears nothing any more. The others in its batch keep their answers."""
        self.hear = None


class Lookup:
    """Finds sessions with all records that decide about them: `session:`, then `user:`, `client:` and `service`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._metrics = connection.metrics
        self._within_s = connection.timeouts.request_s
        self._readers = [connection.reader() for _ in range(MAX_IN_FLIGHT)]
        self._waiting: deque[Question] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._scheduled = False
        # A batch belongs to many requests, so it is logged without the id of any request.
        self._no_request = Context()

    async def client(self, client_id: str) -> Client | None:
        """The client with this id. Raises StoreUnavailable."""
        return (await self.sessions(client_id, ())).client()

    async def session(self, handle: str) -> Found | None:
        """Everything about one session, None if there is no record of it. Raises StoreUnavailable."""
        return (await self.sessions(None, (handle,))).session(handle)

    def sessions(self, client_id: str | None, handles: Collection[str]) -> Awaitable[Answer]:
        """Everything about sessions, and the calling client. Awaiting the answer raises StoreUnavailable."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        question = self.ask(client_id, handles, partial(_settle, answer))
        answer.add_done_callback(lambda _: question.cancel())  # if the caller is cancelled
        return answer if current_budget() is None else _within_budget(answer, self._connection)

    def ask(self, client_id: str | None, handles: Collection[str], hear: Hear) -> Question:
        """Like `sessions`, for a caller that does not wait in a task. Bounded by the time of a request.

        A task and a future for each caller take longer than the reading of its records.
        """
        loop = asyncio.get_running_loop()
        question = Question(client_id, handles, hear, loop.time() + self._within_s)
        self._waiting.append(question)
        self._schedule(loop)
        return question

    async def close(self) -> None:
        for reader in self._readers:
            await reader.close()

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting and not self._scheduled and self._readers:
            loop.call_soon(self._send, loop, context=self._no_request)
            self._scheduled = True

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        batch: list[Question] = []
        try:
            room = MAX_SESSIONS
            while self._waiting and room > 0:
                question = self._waiting.popleft()
                if question.hear is not None:
                    batch.append(question)
                    room -= len(question.handles)
            if batch:
                self._begin(loop, batch)
        except Exception as error:
            _tell(batch, None, error)

    def _begin(self, loop: asyncio.AbstractEventLoop, batch: list[Question]) -> None:
        self._metrics.lookups_per_round_trip.observe(len(batch))
        reader = self._readers.pop()
        reading = self._read(reader, batch, loop)
        try:
            task = loop.create_task(reading)
        except BaseException:
            reading.close()
            self._readers.append(reader)
            raise
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _read(self, reader: Reader, batch: list[Question], loop: asyncio.AbstractEventLoop) -> None:
        """Read for a batch, and tell its callers. Every caller gets an answer, also after a cancellation."""
        found: Read | None = None
        error: BaseException = StoreUnavailable("the lookup was given up")
        try:
            found = await _read(reader, batch)
        except Exception as failure:
            error = failure
        finally:
            self._readers.append(reader)
            _tell(batch, found, error)
            self._schedule(loop)


def _tell(batch: Sequence[Question], found: Read | None, error: BaseException) -> None:
    """Give each caller its answer; the error if there is none, which never looks like an inactive token."""
    for question in batch:
        if (hear := question.hear) is not None:
            try:
                hear(error if found is None else Answer(question.client_id, *found))
            except Exception as failure:  # the other callers get their answers all the same
                with suppress(Exception):
                    hear(failure)
                log.exception("an answer of the store was not heard")


def _settle(answer: "asyncio.Future[Answer]", found: Answer | BaseException) -> None:
    if answer.done():
        return
    if isinstance(found, BaseException):
        answer.set_exception(found)
    else:
        answer.set_result(found)


async def _within_budget(answer: "asyncio.Future[Answer]", connection: Connection) -> Answer:
    async with connection.store_call():
        return await answer


async def _read(reader: Reader, batch: list[Question]) -> Read:
    callers = {question.client_id for question in batch if question.client_id is not None}
    handles = {handle for question in batch for handle in question.handles}
    # The first caller has waited longest. Its deadline holds for the whole batch, because an outage hits all of it.
    give_up_at = batch[0].give_up_at
    raw_service, *raws = await reader.mget(
        [keys.SERVICE, *[keys.client(id_) for id_ in callers], *[keys.session(handle) for handle in handles]],
        give_up_at,
    )
    if isinstance(raw_service, StoreUnavailable):
        raise raw_service
    if raw_service is None:
        # Without the epoch of the service nobody can say whether a session was cut off.
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


def _unless_error(record: R | StoreUnavailable | None) -> R | None:
    if isinstance(record, StoreUnavailable):
        raise record
    return record


def _session(raw: bytes, handle: str) -> Session:
    return _SESSION.decode(raw)  # the digest of the token shows that the session belongs to its key


def _user(raw: bytes, sub: str) -> User:
    user = _USER.decode(raw)
    if user.sub != sub:
        raise CorruptRecord("a user record under another's key")
    return user


# A parsed record depends on its bytes alone, which every lookup reads again. So no remembered record is stale.
@lru_cache(maxsize=256)
def _client(raw: bytes, client_id: str) -> Client:
    client = load(Client, raw)
    if client.client_id != client_id:
        raise CorruptRecord("a client record under another's key")
    return client


@lru_cache(maxsize=2)
def _service(raw: bytes) -> Service:
    return load(Service, raw)
