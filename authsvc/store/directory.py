"""The index of users, `index:users`: users by name, by sub, and the suspended ones, found without a walk over all keys.

All entries have the score 0, so they are in the order of their bytes. The first letter is the kind of the entry:
`a<name>` NUL `<sub>` a user with a name, `b<sub>` a user without a name, `c<sub>` a user with a name by the sub, and
`d<name>` NUL `<sub>` a suspended user. Names are canonical. On a Cluster the index is in one slot.

An entry is written after its record, and an old entry is removed after it. After a crash in between, an entry may be
missing until the next start fills the index, or stay. So every reader looks at the record too, and no decision depends
on the index.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from authsvc.core.user import User
from authsvc.core.username import normalise
from authsvc.driver.connection import Connection
from authsvc.driver.scripts import Command
from authsvc.errors import InvalidRequest, StoreUnavailable
from authsvc.store import keys

log = logging.getLogger(__name__)

KINDS = NAMED, NAMELESS, BY_SUB, SUSPENDED = "a", "b", "c", "d"
_END = "\0"


class Span(NamedTuple):
    """The entries of one kind that begin with a text. after: only those behind this entry."""

    kind: str
    prefix: str = ""
    after: str | None = None

    @property
    def bounds(self) -> tuple[bytes, bytes]:
        # A lone surrogate, which a shell may pass on, is in no name.
        begin = (self.kind + self.prefix).encode(errors="surrogatepass")
        first = b"[" + begin if self.after is None else b"(" + self.after.encode()
        return first, b"(" + begin + b"\xff"  # no UTF-8 has this byte


def entries_of(user: User) -> frozenset[str]:
    """The entries of a user in the index."""
    name = canonical(user)
    found = {f"{NAMELESS}{user.sub}"} if name is None else {_named(NAMED, name, user), f"{BY_SUB}{user.sub}"}
    if user.status == "suspended":
        found.add(_named(SUSPENDED, name or "", user))
    return frozenset(found)


def canonical(user: User) -> str | None:
    """The canonical name; None for a user without one. An older version may have taken a name that is refused now."""
    if user.username is None:
        return None
    try:
        return normalise(user.username)
    except InvalidRequest:
        return user.username.casefold()


def _named(kind: str, name: str, user: User) -> str:
    return f"{kind}{name}{_END}{user.sub}"


def sub_in(entry: str) -> str:
    """The sub in an entry."""
    return entry.rpartition(_END)[2] if _END in entry else entry[1:]


class Directory:
    """Reads and writes the index. Methods raise StoreUnavailable."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def enter(self, users: Iterable[User]) -> None:
        """Enter users, whose records are written."""
        await self._connection.batch(entering(users))

    async def move(self, before: User, after: User) -> None:
        """Enter a user who was changed, and remove the entries that do not fit any more.

        The record is written already. So a store that refuses this, such as a full one, makes no error of the change.
        """
        try:
            await self._connection.batch([*removing(entries_of(before) - entries_of(after)), *entering([after])])
        except StoreUnavailable as error:
            log.info("%s: not done: %s", f"move {after.sub} in the index of users", error)

    async def leave(self, entries: Iterable[str]) -> None:
        """Remove entries whose users are gone."""
        await self._connection.batch(removing(entries))

    async def read(self, span: Span, limit: int) -> list[str]:
        """The first entries of a span, in their order."""
        found = await self._connection.call("ZRANGE", keys.USERS_INDEX, *span.bounds, "BYLEX", "LIMIT", 0, limit)
        return [entry.decode() for entry in found]


def entering(users: Iterable[User]) -> Sequence[Command]:
    entries = [entry for user in users for entry in sorted(entries_of(user))]
    words = [word for entry in entries for word in (0, entry)]
    return [("ZADD", keys.USERS_INDEX, *words)] if words else []


def removing(entries: Iterable[str]) -> Sequence[Command]:
    gone = sorted(entries)
    return [("ZREM", keys.USERS_INDEX, *gone)] if gone else []
