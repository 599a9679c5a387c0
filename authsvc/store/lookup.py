"""Reading all that a decision needs, for many callers at once.

Lookups that are waiting in the same turn of the event loop share their round trips: one MGET for all of their keys. A
caller never joins a read that was already sent, so what it gets was read after it asked.
"""

import asyncio
from collections import deque
from functools import lru_cache
from typing import Any

from authsvc.core.client import Client
from authsvc.core.record import Service
from authsvc.core.session import Found, Session
from authsvc.core.user import User
from authsvc.errors import CorruptRecord, StoreUnavailable
from authsvc.store import keys
from authsvc.store.connection import Connection
from authsvc.store.records import load

# Two batches travel while the next one gathers: one more would only make them smaller.
MAX_IN_FLIGHT = 2
MAX_KEYS = 1000

Values = list[bytes | None]


class Lookup:
    """Finds sessions with everything that decides about them: `session:`, then `user:`, `client:` and `service`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[tuple[tuple[str, ...], asyncio.Future[Values]]] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._scheduled = False

    async def client(self, client_id: str) -> Client | None:
        (raw,) = await self._values(keys.client(client_id))
        return None if raw is None else _client(raw, client_id)

    async def session(self, handle: str) -> Found | None:
        """Everything about a session, None if there is no such record. Raises StoreUnavailable."""
        (raw,) = await self._values(keys.session(handle))
        if raw is None:
            return None
        session = load(Session, raw)
        user, client, service = await self._values(keys.user(session.sub), keys.client(session.client_id), keys.SERVICE)
        if service is None:
            # Without the service's epoch nobody can say whether the session was cut off.
            raise StoreUnavailable("the store holds no service record")
        return Found(
            handle,
            session,
            None if user is None else _user(user, session.sub),
            None if client is None else _client(client, session.client_id),
            _service(service),
        )

    def _values(self, *wanted: str) -> asyncio.Future[Values]:
        loop = asyncio.get_running_loop()
        # One future for each caller: cancelling one must not take the answer from another.
        future: asyncio.Future[Values] = loop.create_future()
        self._waiting.append((wanted, future))
        self._schedule(loop)
        return future

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled and self._waiting and len(self._in_flight) < MAX_IN_FLIGHT:
            self._scheduled = True
            loop.call_soon(self._send)

    def _send(self) -> None:
        self._scheduled = False
        batch = []
        wanted: dict[str, None] = {}
        while self._waiting and len(wanted) < MAX_KEYS:
            asked, future = self._waiting.popleft()
            if not future.done():
                batch.append((asked, future))
                wanted.update(dict.fromkeys(asked))
        if batch:
            task = asyncio.create_task(self._fetch(list(wanted), batch))
            self._in_flight.add(task)
            task.add_done_callback(self._landed)

    def _landed(self, task: "asyncio.Task[None]") -> None:
        self._in_flight.discard(task)
        self._schedule(task.get_loop())

    async def _fetch(self, wanted: list[str], batch: list[tuple[tuple[str, ...], asyncio.Future[Values]]]) -> None:
        try:
            replies: list[Any] = await self._connection.call("MGET", *wanted)
            values = dict(zip(wanted, replies, strict=True))
        except BaseException as error:
            # Also when we are cancelled: nobody may be left waiting.
            reason = error if isinstance(error, StoreUnavailable) else StoreUnavailable("the lookup was given up")
            for _, future in batch:
                if not future.done():
                    future.set_exception(reason)
            if not isinstance(error, StoreUnavailable):
                raise
            return
        for asked, future in batch:
            if not future.done():
                future.set_result([values[key] for key in asked])


# Parsing is a pure function of the bytes, so remembering it makes nothing stale: the bytes are read each time.
# Each record names itself; one under another's key means that replies were mixed up, and decides nothing.
@lru_cache(maxsize=2048)
def _user(raw: bytes, sub: str) -> User:
    user = load(User, raw)
    if user.sub != sub:
        raise CorruptRecord("a user record under another's key")
    return user


@lru_cache(maxsize=256)
def _client(raw: bytes, client_id: str) -> Client:
    client = load(Client, raw)
    if client.client_id != client_id:
        raise CorruptRecord("a client record under another's key")
    return client


@lru_cache(maxsize=2)
def _service(raw: bytes) -> Service:
    return load(Service, raw)
