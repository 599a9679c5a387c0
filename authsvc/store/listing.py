"""Lists of users, clients and sessions, made by a walk over the keys: an index would be one more thing to keep correct.

A page costs a walk over part of all keys, which takes a few milliseconds for each ten thousand keys. SCAN allows empty
pages before the end, and a record that is written meanwhile may appear twice.
"""

import re
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from authsvc.core.client import Client
from authsvc.core.record import Record
from authsvc.core.user import Credentials, User
from authsvc.driver.connection import Connection
from authsvc.store import keys
from authsvc.store.distinct import Distinct
from authsvc.store.encoding import load

R = TypeVar("R", bound=Record)

_CURSOR = re.compile(r"[0-9]{1,20}(\.[0-9]{1,4})?(!(user|client):[!-~]{1,300})?")
_STEP = 1000
_MAX_STEPS = 100


class Listing:
    """Pages of records. A cursor holds the cursor of the store and the last name of the page; None is the end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def users(self, cursor: str | None, limit: int) -> tuple[list[User], str | None]:
        return await self._page(User, keys.USER_PREFIX, cursor, limit)

    async def clients(self, cursor: str | None, limit: int) -> tuple[list[Client], str | None]:
        return await self._page(Client, keys.CLIENT_PREFIX, cursor, limit)

    async def every_user(self) -> AsyncIterator[User]:
        """Every user once, in the order of their subs. May include users created meanwhile."""
        async for user in self._every(User, keys.USER_PREFIX):
            yield user

    async def every_client(self) -> AsyncIterator[Client]:
        """Every client once, in the order of their ids."""
        async for client in self._every(Client, keys.CLIENT_PREFIX):
            yield client

    async def clients_within(self, most_steps: int | None) -> tuple[list[Client], bool]:
        """The clients that a walk of so many steps finds, each once, and whether they are all. None: the whole walk."""
        names, whole = await self._names(keys.CLIENT_PREFIX, most_steps)
        return [client for batch in _batches(names) for client in await self._load(Client, batch)], whole

    async def every_credentials(self) -> AsyncIterator[Credentials]:
        """All credentials, each once."""
        async for credentials in self._every(Credentials, keys.CREDENTIALS_PREFIX):
            yield credentials

    async def session_handles(self, most_steps: int | None = None) -> tuple[Iterator[list[str]], bool]:
        """The handles of the sessions that have a record, in pages, and whether they are all.

        most_steps: the walk ends after so many steps, each of which looks at about a thousand keys of any kind.
        """
        names, whole = await self._names(keys.SESSION_PREFIX, most_steps)
        return ([name.removeprefix(keys.SESSION_PREFIX) for name in batch] for batch in _batches(names)), whole

    async def users_by_name(self) -> AsyncIterator[User]:
        """Every user once, by name, and after them the users without a name. A rename meanwhile may show a user twice.

        Reads each user twice, because only names are kept in memory.
        """
        names = Distinct()
        async for user in self.every_user():
            names.add(f"{user.username is None:d}{user.username or ''}\0{user.sub}")
        for batch in _batches(names):
            subs = [name.rpartition("\0")[2] for name in batch]
            for user in await self._load(User, [keys.user(sub) for sub in subs]):
                yield user

    async def _every(self, model: type[R], prefix: str) -> AsyncIterator[R]:
        """Walk over the keys first: the walk returns some keys twice. Only their names are kept in memory."""
        names, _ = await self._names(prefix)
        for batch in _batches(names):
            for record in await self._load(model, batch):
                yield record

    async def _names(self, prefix: str, most_steps: int | None = None) -> tuple[Distinct, bool]:
        """The names of keys, and whether they are all: a bounded walk may end before. Each step takes milliseconds."""
        names, position = Distinct(), "0"
        steps = 0
        while steps != most_steps:
            steps += 1
            position, found = await self._connection.scan(position, f"{prefix}*", _STEP)
            for name in found:
                names.add(name.decode())
            if position == "0":
                return names, True
        return names, False

    async def _page(self, model: type[R], prefix: str, cursor: str | None, limit: int) -> tuple[list[R], str | None]:
        position, _, after = (cursor or "0").partition("!")
        names: list[str] = []
        for _ in range(_MAX_STEPS):
            following, found = await self._connection.scan(position, f"{prefix}*", _STEP)
            # One step may bring more than fits. The next page repeats the step, and goes on after the last name.
            new = sorted(name for name in (key.decode() for key in found) if name > after)
            room = limit - len(names)
            names += new[:room]
            if len(new) > room:
                after = names[-1] if room else after
                # A page that was full before the step takes nothing from it.
                return await self._load(model, names), f"{position}!{after}" if after else position
            position, after = following, ""
            if position == "0":
                return await self._load(model, names), None
        return await self._load(model, names), position

    async def _load(self, model: type[R], names: list[str]) -> list[R]:
        if not names:
            return []
        raws = await self._connection.batch([("GET", name) for name in names])
        return [load(model, raw) for raw in raws if raw is not None]


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    following = iter(names)
    while batch := list(islice(following, _STEP)):
        yield batch


def is_cursor(text: str) -> bool:
    # SCAN takes positions of 64 bits. The store complains about larger ones, which is not the store being down.
    return _CURSOR.fullmatch(text) is not None and int(re.split("[.!]", text)[0]) < 2**64
