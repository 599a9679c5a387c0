"""Fills a store with users and live sessions, by the code of the service itself.

The service's stores write through a connection that collects the commands and sends them later in large blocks. So the
records, the indexes and the expiry are those of a real login. Ten thousand sessions take about one second.
"""

import asyncio
import json
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

import hiredis
from argon2 import PasswordHasher

from authsvc.core import api_key, issuing
from authsvc.core import token as tokens
from authsvc.core.api_key import Contents
from authsvc.core.client import Client
from authsvc.core.exchange import Wish, exchange
from authsvc.core.record import Record, Service
from authsvc.core.session import CLIENT, Epochs
from authsvc.core.token import Kind
from authsvc.core.user import Credentials, User
from authsvc.driver.connection import Connection
from authsvc.driver.scripts import Command
from authsvc.store import keys
from authsvc.store.encoding import load
from authsvc.store.records import Records
from authsvc.store.sessions import Sessions
from authsvc.store.turns import Turns
from authsvc.store.users import Users
from bench.servers import BenchError, Store

CHUNK = 5000
SCOPE = "orders:read"
# The user agent that a browser leaves in its session.
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
PASSWORD = "a walk by the river"
R = TypeVar("R", bound=Record)


class Filled(NamedTuple):
    """Packed commands for the store. names: the subs of the users, or the tokens of the sessions."""

    packed: bytes
    commands: int
    names: list[str]


class Under(NamedTuple):
    """The records under which sessions begin, as the store holds them."""

    client: bytes
    client_id: str
    service: bytes


class Packing(Connection):
    """Replaces a connection. It keeps the commands and answers like an empty store."""

    def __init__(self) -> None:
        self.packed: list[bytes] = []
        self.clustered = False

    async def batch(self, commands: Sequence[Command]) -> list[Any]:
        for command in commands:
            self._take(command)
        return [None] * len(commands)

    async def transaction(self, commands: Sequence[Command]) -> list[Any]:
        await self.batch(commands)
        return [0] * len(commands)

    async def create_beside(
        self,
        commands: Sequence[Command],
        key: str,
        value: bytes,
        expires_at: int | None,
        others: Sequence[Command] = (),
    ) -> tuple[bool, list[Any]]:
        told = await self.transaction(commands)
        await self.batch(others)
        return await self.create(key, value, expires_at), told

    def _take(self, command: Command) -> None:
        self.packed.append(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub means tuple[..., ...]

    def filled(self, names: list[str]) -> Filled:
        return Filled(b"".join(self.packed), len(self.packed), names)


def under(store: Store, client_id: str) -> Under:
    with store.open() as client:
        found = client.get(keys.client(client_id)), client.get(keys.SERVICE)
    if not isinstance(found[0], bytes) or not isinstance(found[1], bytes):
        raise BenchError("the service has not started on this store")
    return Under(found[0], client_id, found[1])


def fill_users(stores: Sequence[Store], count: int, now: float) -> list[str]:
    """Store user records without credentials: introspection reads none. Returns the subs."""
    jobs = [(at, min(CHUNK, count - at), now) for at in range(0, count, CHUNK)]
    return _fill(stores, _users, jobs)


def fill_sessions(
    stores: Sequence[Store], subs: Sequence[str], by: Under, now: float, *, each: int = 1, pairs: bool = False
) -> list[str]:
    """Begin sessions for users that fill_users has made with the same `now`.

    Returns access tokens; with `pairs`, each is followed by a space and the refresh token.
    """
    step = max(CHUNK // each, 1)
    jobs = [(list(subs[at : at + step]), by, now, each, pairs) for at in range(0, len(subs), step)]
    return _fill(stores, _sessions, jobs)


def fill_keys(stores: Sequence[Store], count: int, by: Under, now: float) -> list[str]:
    """Store users with one key each, which was used just now. Returns the keys."""
    return _fill(stores, _keys, [(at, min(CHUNK, count - at), by, now) for at in range(0, count, CHUNK)])


def fill_service_tokens(stores: Sequence[Store], count: int, by: Under, now: float) -> list[str]:
    """Store sessions in which a client speaks for itself. Returns access tokens."""
    return _fill(stores, _service_tokens, [(min(CHUNK, count - at), by, now) for at in range(0, count, CHUNK)])


def fill_exchanged(stores: Sequence[Store], count: int, by: Under, exchanger: Under, now: float) -> list[str]:
    """Store users with one session each, whose token was exchanged once. Returns the exchanged tokens.

    exchanger: the client that exchanged. The tokens live for 15 minutes.
    """
    subs = fill_users(stores, count, now)
    jobs = [(subs[at : at + CHUNK], by, exchanger, now) for at in range(0, count, CHUNK)]
    return _fill(stores, _exchanged, jobs)


def fill_logins(store: Store, count: int, password_hash: str) -> None:
    """Register the users login00000, login00001 and so on, with one password for all."""

    async def register() -> None:
        connection = Connection(store.url)
        users, now = Users(connection, Turns(10)), time.time()
        for number in range(count):
            user = User(sub=tokens.new_handle(), username=f"login{number:05d}", epoch=int(now * 1000), created_at=0)
            await users.register(user, Credentials(hash=password_hash, changed_at=int(now)))
        await connection.close()

    asyncio.run(register())


def hashed_password() -> str:
    return PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1).hash(PASSWORD)


def fill_obvious(store: Store, count: int) -> list[str]:
    """Store sessions and users in the format of the obvious handler. Returns access tokens."""
    made, now = [], int(time.time())
    with store.open() as client, client.pipeline(transaction=False) as pipeline:
        for number in range(count):
            token, sub = tokens.new(Kind.ACCESS).text, tokens.new_handle()
            session = {"sub": sub, "client_id": "app", "scope": SCOPE, "iat": now, "exp": now + 86400}
            user = {"username": f"user{number:07d}", "roles": ["editor"], "status": "active"}
            key = "obvious:session:" + sha256(token.encode()).hexdigest()
            pipeline.set(key, json.dumps(session), ex=86400)
            pipeline.set("obvious:user:" + sub, json.dumps(user))
            made.append(token)
        pipeline.execute()
    return made


def _user(sub: str, number: int, now: float) -> User:
    return User(sub=sub, username=f"user{number:07d}", roles=("editor",), epoch=int(now * 1000), created_at=int(now))


def _users(start: int, count: int, now: float) -> Filled:
    async def make() -> Filled:
        packing = Packing()
        records = Records(packing, Turns(0), User, keys.user)
        subs = [tokens.new_handle() for _ in range(count)]
        for offset, sub in enumerate(subs):
            await records.create(sub, _user(sub, start + offset, now))
        return packing.filled(subs)

    return asyncio.run(make())


def _sessions(subs: list[str], by: Under, now: float, each: int, pairs: bool) -> Filled:
    async def make() -> Filled:
        packing = Packing()
        records = Sessions(packing, Turns(0))
        made = []
        for number, sub in enumerate(sub for sub in subs for _ in range(each)):
            handle = tokens.new_handle()
            session, pair = issuing.begin(handle, _login(sub, number, by, now), now=now)
            await records.add(handle, session, now)
            made.append(f"{pair.access.text} {pair.refresh.text}" if pairs and pair.refresh else pair.access.text)
        return packing.filled(made)

    return asyncio.run(make())


def _login(sub: str, number: int, by: Under, now: float) -> issuing.Opening:
    """A login of a user from a browser. number: for the address."""
    client = _loaded(Client, by.client)
    return issuing.Opening(
        user=_user(sub, 0, now),
        client=client,
        service=_loaded(Service, by.service),
        lifetimes=client.lifetimes(refreshable=True),
        refreshable=True,
        scope=SCOPE,
        amr=("pwd",),
        ip=f"203.0.113.{number % 256}",
        user_agent=USER_AGENT,
    )


@lru_cache
def _loaded(kind: type[R], raw: bytes) -> R:
    return load(kind, raw)


def _service_tokens(count: int, by: Under, now: float) -> Filled:
    async def make() -> Filled:
        packing = Packing()
        records = Sessions(packing, Turns(0))
        client = load(Client, by.client)
        opening = issuing.Opening(
            user=client.itself,
            client=client,
            service=load(Service, by.service),
            lifetimes=client.lifetimes(refreshable=False),
            refreshable=False,
            scope=SCOPE,
            origin=CLIENT,
        )
        made = []
        for _ in range(count):
            handle = tokens.new_handle()
            session, pair = issuing.begin(handle, opening, now=now)
            await records.create_unlisted(handle, session)
            made.append(pair.access.text)
        return packing.filled(made)

    return asyncio.run(make())


def _exchanged(subs: list[str], by: Under, exchanger: Under, now: float) -> Filled:
    async def make() -> Filled:
        packing = Packing()
        records = Sessions(packing, Turns(0))
        wish = Wish(load(Client, exchanger.client), None)
        made = []
        for number, sub in enumerate(subs):
            handle = tokens.new_handle()
            session, pair = issuing.begin(handle, _login(sub, number, by, now), now=now)
            session, issued = exchange(session, pair.access, wish, now)
            await records.add(handle, session, now)
            made.append(issued.access.text)
        return packing.filled(made)

    return asyncio.run(make())


def _keys(start: int, count: int, by: Under, now: float) -> Filled:
    async def make() -> Filled:
        packing = Packing()
        sessions = Sessions(packing, Turns(0))
        client, service = load(Client, by.client), load(Service, by.service)
        contents = Contents("nightly backup", SCOPE, client.audience, api_key.DEFAULT_LIFE_S)
        made = []
        for number in range(start, start + count):
            user = _user(tokens.new_handle(), number, now).with_keys()
            token = api_key.new_token("")
            epochs = Epochs(user.key_epoch or 0, client.epoch, service.epoch)
            key = api_key.begun(token.digest, contents, user.sub, client.client_id, epochs, now).touched(now)
            # Not by a store, which would look whether the store's format allows users with keys.
            await packing.call("SET", keys.user(user.sub), user.but(v=user.needs_format()).to_json())
            await sessions.add_key(token.handle, key, now)
            made.append(token.text)
        return packing.filled(made)

    return asyncio.run(make())


def _fill(stores: Sequence[Store], work: Any, jobs: Sequence[tuple[Any, ...]]) -> list[str]:
    names: list[str] = []
    connections = [_connected(store) for store in stores]
    try:
        for filled in _worked(work, jobs):
            for connection in connections:
                _send(connection, filled)
            names += filled.names
    finally:
        for connection in connections:
            connection.close()
    return names


def _worked(work: Any, jobs: Sequence[tuple[Any, ...]]) -> Iterator[Filled]:
    if len(jobs) < 4:  # the start of processes would take longer
        yield from (work(*job) for job in jobs)
        return
    with ProcessPoolExecutor(2) as pool:
        yield from pool.map(work, *zip(*jobs, strict=True))


def _connected(store: Store) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(store.socket))
    return connection


def _send(connection: socket.socket, filled: Filled) -> None:
    connection.sendall(filled.packed)
    reader, seen = hiredis.Reader(notEnoughData=Ellipsis), 0
    while seen < filled.commands:
        reader.feed(connection.recv(1 << 20))
        while (reply := reader.gets()) is not Ellipsis:
            if isinstance(reply, hiredis.ReplyError):
                raise BenchError(f"the store refused a record: {reply}")
            seen += 1
