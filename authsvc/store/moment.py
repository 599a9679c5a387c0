"""The records that the store held at one moment, parsed when a caller needs them.

Every record is checked to belong to its key, in case replies were ever mixed up.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

from msgspec.json import Decoder

from authsvc.core.client import Client
from authsvc.core.record import Service
from authsvc.core.session import Found, Session
from authsvc.core.user import User
from authsvc.driver.reader import Value
from authsvc.errors import CorruptRecord, StoreUnavailable
from authsvc.store import keys
from authsvc.store.encoding import UNREADABLE, load, unreadable

_SESSION, _USER = Decoder(Session), Decoder(User)

R = TypeVar("R")


class Moment:
    """The values of keys that were read in one round trip; on a cluster, in one round trip to each node.

    read: the values by their keys. earlier: a moment whose sessions were parsed. Equal bytes are not parsed again.
    """

    __slots__ = ("_clients", "_earlier", "_service", "_sessions", "_users", "read")

    def __init__(self, read: Mapping[str, Value], earlier: "Moment | None" = None) -> None:
        self.read = read
        self._earlier = earlier
        self._service: Service | None = None
        self._clients: dict[str, Client] = {}
        self._sessions: dict[str, Session] = {}
        self._users: dict[str, User] = {}

    def values(self, names: Sequence[str]) -> tuple[Value, ...]:
        """What was read at these keys. None: the key is absent, or was not read."""
        return tuple(map(self.read.get, names))

    def service(self) -> Service:
        """The record of the service. Raises StoreUnavailable."""
        service = self._service
        if service is None:
            raw = self.value(keys.SERVICE)
            if raw is None:
                # Without the epoch of the service nobody can say whether a session was cut off.
                raise StoreUnavailable("the store holds no service record")
            service = self._service = _service(raw)
        return service

    def client(self, client_id: str) -> Client | None:
        """A client, None if it is not registered. Raises StoreUnavailable."""
        client = self._clients.get(client_id)
        if client is None and (raw := self.value(keys.client(client_id))) is not None:
            client = self._clients[client_id] = _client(raw, client_id)
        return client

    def session(self, handle: str) -> Session | None:
        """A session, None if there is no record of it. Raises StoreUnavailable."""
        session = self._sessions.get(handle)
        if session is None and (raw := self.value(name := keys.session(handle))) is not None:
            earlier = self._earlier
            if earlier is not None and earlier.read.get(name) == raw:
                session = earlier._sessions.get(handle)
            # The digest of the token shows that the session belongs to its key.
            session = self._sessions[handle] = session or _decode(_SESSION, raw)
        return session

    def found(self, handle: str) -> Found | None:
        """A session with all records that decide about it, None if there is no session. Raises StoreUnavailable."""
        session = self.session(handle)
        if session is None:
            return None
        ids = [one.client_id for one in session.exchanged if keys.client(one.client_id) in self.read]
        exchangers = {client_id: self.client(client_id) for client_id in ids}
        client = self.client(session.client_id)
        return Found(handle, session, self._user(session.sub), client, self.service(), exchangers)

    def _user(self, sub: str) -> User | None:
        user = self._users.get(sub)
        if user is None and (raw := self.value(keys.user(sub))) is not None:
            user = self._users[sub] = _decode(_USER, raw)
            if user.sub != sub:
                raise CorruptRecord("a user record under another's key")
        return user

    def value(self, name: str) -> bytes | None:
        """The bytes at this key, None if it is absent. Raises StoreUnavailable if its server did not answer.

        Also raises it for a key that was not read, which is not the same as absent. A session may be found only at the
        second read, when its node answers again. The record of its user was not read then.
        """
        read = self.read
        if name not in read:
            if self._earlier is None or name not in self._earlier.read:
                raise StoreUnavailable("a record was not read")
            read = self._earlier.read  # the session was absent, so nothing about it was read again
        value = read[name]
        if isinstance(value, StoreUnavailable):
            raise value
        return value


def _decode(decoder: Decoder[R], raw: bytes) -> R:
    try:
        return decoder.decode(raw)
    except UNREADABLE:
        raise unreadable(raw) from None


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
