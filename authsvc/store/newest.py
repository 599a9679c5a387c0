"""The newest sessions of all users, `index:sessions`, and of each client, `index:sessions:<client_id>`.

Each is a sorted set of at most 10,000 handles by the time of the login, in milliseconds. A login writes both beside its
record, in the same round trip. An entry may be stale, so every reader looks at the records too, and no decision depends
on the index. On a Cluster each of these keys is in one slot, so all logins write to the node of `index:sessions`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

from authsvc.core.session import Session
from authsvc.driver.connection import Connection
from authsvc.driver.scripts import Command
from authsvc.store import keys

MOST = 10_000

# ARGV: the most entries, the latest end of these sessions in ms, and then times of logins and handles by turns. The
# index expires with the last session that was entered. Entries beyond the newest ones go.
_ENTER = b"""
local most, ends = tonumber(ARGV[1]), ARGV[2]
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, unpack(ARGV, 3))
  redis.call('PEXPIREAT', key, ends, 'NX')
  redis.call('PEXPIREAT', key, ends, 'GT')
  local over = redis.call('ZCARD', key) - most
  if over > 0 then redis.call('ZREM', key, unpack(redis.call('ZRANGE', key, 0, over - 1))) end
end
return 0
"""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last session of a page. seen: how many sessions of the same millisecond pages have had so far."""

    PATTERN: ClassVar[re.Pattern[str]] = re.compile(r"[0-9]{1,15}-[0-9]{1,5}-[0-9A-Za-z]{12}")

    at_ms: int
    seen: int
    handle: str

    @classmethod
    def parse(cls, text: str) -> Self:
        at_ms, seen, handle = text.split("-")
        return cls(int(at_ms), int(seen), handle)

    def __str__(self) -> str:
        return f"{self.at_ms}-{self.seen}-{self.handle}"


class Entry(NamedTuple):
    """One session in the index."""

    handle: str
    at_ms: int

    def behind(self, before: Cursor | None) -> Cursor:
        """The cursor of a page that ends with this session. before: the cursor after the session before it."""
        of_the_same = before.seen if before is not None and before.at_ms == self.at_ms else 0
        return Cursor(self.at_ms, of_the_same + 1, self.handle)


class Newest:
    """Reads and writes these indexes. Methods raise StoreUnavailable."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def enter(self, sessions: Mapping[str, Session]) -> None:
        """Enter sessions, by their handles."""
        by_key: dict[str, list[tuple[str, Session]]] = {}
        for handle, session in sessions.items():
            for key in (keys.newest(), keys.newest(session.client_id)):
                by_key.setdefault(key, []).append((handle, session))
        await self._connection.batch([_entering((key,), listed) for key, listed in by_key.items()])

    async def read(
        self, client_id: str | None, *, since_ms: int, after: Cursor | None, limit: int
    ) -> tuple[list[Entry], bool]:
        """The sessions behind the cursor, newest first, and whether these are the last ones."""
        most, skipped = "+inf", 0
        if after is not None:
            most, skipped = str(after.at_ms), after.seen
        found = await self._connection.call(
            *("ZRANGE", keys.newest(client_id), most, since_ms, "BYSCORE", "REV"),
            *("LIMIT", 0, limit + skipped, "WITHSCORES"),
        )
        entries = [Entry(handle.decode(), int(at)) for handle, at in found]
        # Of one millisecond the store lists handles downwards.
        new = [one for one in entries if after is None or (one.at_ms, one.handle) < (after.at_ms, after.handle)]
        return new[:limit], len(entries) < limit + skipped

    async def all(self, client_id: str | None, since_ms: int) -> list[str]:
        """All handles in the index, at most MOST."""
        found = await self._connection.call("ZRANGE", keys.newest(client_id), since_ms, "+inf", "BYSCORE")
        return [handle.decode() for handle in found]


def beside(handle: str, session: Session, *, apart: bool) -> Sequence[Command]:
    """The commands that enter a new session. apart: on a Cluster the two keys are in different slots."""
    names = keys.newest(), keys.newest(session.client_id)
    listed = [(handle, session)]
    return [_entering((name,), listed) for name in names] if apart else [_entering(names, listed)]


def leaving(client_id: str, handles: Sequence[str]) -> Sequence[Command]:
    """The commands that remove sessions which have ended."""
    return [("ZREM", name, *handles) for name in (keys.newest(), keys.newest(client_id))]


def _entering(names: Sequence[str], listed: Sequence[tuple[str, Session]]) -> Command:
    ends_ms = max(session.end for _, session in listed) * 1000
    words = [word for handle, session in listed for word in (session.created_ms, handle)]
    return ("EVAL", _ENTER, len(names), *names, MOST, ends_ms, *words)
