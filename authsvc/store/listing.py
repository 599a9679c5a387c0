"""Lists of users and clients, made by a walk over the keys: an index would be one more thing to keep correct.

A page costs a walk over part of all keys, which takes a few milliseconds for each ten thousand keys. SCAN allows empty
pages before the end, and a record that is written meanwhile may appear twice.
"""

import re
from collections.abc import AsyncIterator
from typing import TypeVar

from authsvc.core.client import Client
from authsvc.core.record import Record
from authsvc.core.user import Credentials, User
from authsvc.driver.connection import Connection
from authsvc.store import keys
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
        cursor: str | None = "0"
        while cursor is not None:
            users, cursor = await self.users(cursor, _STEP)
            for user in users:
                yield user

    async def every_client(self) -> AsyncIterator[Client]:
        cursor: str | None = "0"
        while cursor is not None:
            clients, cursor = await self.clients(cursor, _STEP)
            for client in clients:
                yield client

    async def every_credentials(self) -> AsyncIterator[Credentials]:
        cursor: str | None = "0"
        while cursor is not None:
            page, cursor = await self._page(Credentials, keys.CREDENTIALS_PREFIX, cursor, _STEP)
            for credentials in page:
                yield credentials

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


def is_cursor(text: str) -> bool:
    # SCAN takes positions of 64 bits. The store complains about larger ones, which is not the store being down.
    return _CURSOR.fullmatch(text) is not None and int(re.split("[.!]", text)[0]) < 2**64
