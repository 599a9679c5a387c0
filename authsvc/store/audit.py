"""The audit trail: one stream, trimmed by age and by number."""

import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from authsvc.core.event import Entry
from authsvc.core.event_limit import EventLimit
from authsvc.driver.connection import Connection
from authsvc.errors import StoreUnavailable
from authsvc.store import keys

log = logging.getLogger("authsvc.audit")

_PAGE = 1000
_ID = re.compile(rb"[0-9]{1,15}-[0-9]{1,10}")
# Stands in the place of an entry that cannot be decoded, so that the rest of the trail can be read.
UNREADABLE = Entry(event="unreadable", actor="unknown", outcome="unknown")


class StoredEntry(NamedTuple):
    """An entry as read back. `id`: the stream's; `at`: epoch seconds, with milliseconds."""

    id: str
    at: float
    entry: Entry


class Search(NamedTuple):
    """Entries that fit, newest first. next: the id to go on from as `before`; None at the end.

    searched_to: the time of the oldest entry that was looked at, epoch seconds; None: there was none.
    """

    entries: list[StoredEntry]
    next: str | None
    searched_to: float | None


class Audit:
    """Writes each entry to the log and to the stream, and reads the stream back, newest first."""

    def __init__(self, connection: Connection, *, retention_s: int, max_events: int) -> None:
        self._connection = connection
        self._retention_s = retention_s
        self._max_events = max_events
        self.limit = EventLimit()

    async def write(self, entries: Sequence[Entry], now: float) -> None:
        """Record entries. The log lines come first. A store that fails now does not undo the changes themselves."""
        if not entries:
            return
        oldest_ms = int((now - self._retention_s) * 1000)
        add = ("XADD", keys.AUDIT, "MINID", "~", oldest_ms, "*", "at", int(now * 1000), "e")
        documents = [msgspec.json.encode(self.log(entry)) for entry in entries]
        try:
            await self._connection.transaction(
                [
                    *((*add, document) for document in documents),
                    # Anybody can cause failures. They must not fill the store, however many there are.
                    ("XTRIM", keys.AUDIT, "MAXLEN", "~", self._max_events),
                    ("EXPIRE", keys.AUDIT, self._retention_s),
                ]
            )
        except StoreUnavailable:
            for entry in entries:
                self._connection.metrics.audit_unwritten.add()
                log.error("an audit event is in the log only: %s", entry.event)

    def log(self, entry: Entry, *, at: float | None = None) -> dict[str, Any]:
        """Write the log line only. Events that anybody can cause for free must not cost the store anything.

        at: when it happened, in epoch seconds; by default now.
        """
        fields = {name: value for name, value in msgspec.structs.asdict(entry).items() if value is not None}
        log.info("%s", entry.event, extra={"fields": fields} | ({} if at is None else {"happened_at": at}))
        return fields

    async def page(
        self, *, before: str | None = None, after: str | None = None, limit: int
    ) -> tuple[list[StoredEntry], str | None]:
        """Entries between two others, given by their ids, newest first; and the id to go on from as `before`."""
        end = "+" if before is None else f"({before}"
        start = "-" if after is None else f"({after}"
        entries = [_stored(id_, fields) for id_, fields in await self._rows(end, start, limit)]
        return entries, entries[-1].id if len(entries) == limit else None

    async def search(
        self,
        fits: Callable[[StoredEntry], bool],
        beginnings: Mapping[str, str],
        *,
        before: str | None,
        after: str | None,
        limit: int,
        most: int,
    ) -> Search:
        """The newest entries that fit, between two others. Looks at `most` entries at most.

        beginnings: the members that each entry that fits has, with what their values begin with. Entries without one of
        them are not decoded.
        """
        # As the encoder writes them: `{"sub":"u-1"}` without the last quotation mark and brace.
        contained = [msgspec.json.encode({name: value})[1:-2] for name, value in beginnings.items()]
        found: list[StoredEntry] = []
        position, searched_to = before, None
        for _ in range(max(most // _PAGE, 1)):
            size = _PAGE if beginnings else min(_PAGE, limit)
            end, start = "+" if position is None else f"({position}", "-" if after is None else after
            rows = await self._rows(end, start, size)
            for id_, fields in rows:
                position, searched_to = id_.decode(), int(fields[1]) / 1000
                if all(word in fields[3] for word in contained):
                    stored = _stored(id_, fields)
                    if fits(stored):
                        found.append(stored)
                if len(found) == limit:
                    return Search(found, position, searched_to)
            if len(rows) < size:
                return Search(found, None, searched_to)
        return Search(found, position, searched_to)

    async def forwards(self, start: str) -> AsyncIterator[StoredEntry]:
        """The entries from `start` on, oldest first. start: an id, "(" and an id without that entry, or "-" for all.

        Reads a long part twice: first from its end, to learn where its pages end. The ACL that is shipped grants
        XREVRANGE only, and one page at a time is in memory.
        """
        ends: list[str] = []
        oldest: list[Any] = []
        while rows := await self._rows(f"({oldest[-1][0].decode()}" if oldest else "+", start):
            ends.append(rows[0][0].decode())
            oldest = rows
            if len(rows) < _PAGE:
                break
        for end in reversed(ends):
            for id_, fields in reversed(oldest or await self._rows(end, start)):
                yield _stored(id_, fields)
            oldest = []

    async def _rows(self, end: str, start: str, limit: int = _PAGE) -> list[Any]:
        rows: list[Any] = await self._connection.call("XREVRANGE", keys.AUDIT, end, start, "COUNT", limit)
        return rows

    async def backwards(self, after: str | None = None) -> AsyncIterator[StoredEntry]:
        """All entries, newest first, or all that are newer than the one with the id `after`, or 0-0.

        Only one page is in memory at a time.
        """
        before: str | None = None
        while True:
            entries, before = await self.page(before=before, after=after, limit=_PAGE)
            for entry in entries:
                yield entry
            if before is None:
                return


def id_at(at: float) -> str:
    """The lowest id of an entry that the store has taken at this time. at: epoch seconds."""
    return f"{max(int(at * 1000), 0)}-0"


def is_cursor(text: str) -> bool:
    # The store refuses to look for entries before 0-0. That refusal must not look like a store that is down.
    return _ID.fullmatch(text.encode()) is not None and text.strip("0-") != ""


def _stored(id_: bytes, fields: list[bytes]) -> StoredEntry:
    pairs = dict(zip(fields[::2], fields[1::2], strict=True))
    return StoredEntry(id_.decode(), int(pairs[b"at"]) / 1000, _decoded(pairs[b"e"]))


def _decoded(document: bytes) -> Entry:
    """The entry. Members that this version does not know are left out; names of events stay text."""
    try:
        return msgspec.json.decode(document, type=Entry)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return UNREADABLE
