"""The audit trail: one stream, trimmed by age."""

import json
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

from authsvc.driver.connection import Connection
from authsvc.errors import StoreUnavailable
from authsvc.store import keys

log = logging.getLogger("authsvc.audit")

_PAGE = 1000
_ID = re.compile(rb"[0-9]{1,15}-[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Event:
    """Who did what to whom, from where, with which outcome. Holds handles and ids, never a token or a typed-in name."""

    event: str
    actor: str
    outcome: str = "success"
    sub: str | None = None
    session_id: str | None = None
    client_id: str | None = None
    reason: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    details: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as read back. `id`: the stream's; `at`: epoch seconds, with milliseconds."""

    id: str
    at: float
    event: Event


class Audit:
    """Writes each event to the log and to the stream, and reads the stream back, newest first."""

    def __init__(self, connection: Connection, *, retention_s: int, max_events: int) -> None:
        self._connection = connection
        self._retention_s = retention_s
        self._max_events = max_events

    async def write(self, event: Event, now: float) -> None:
        """Record an event. The log line comes first and always; a store that fails now does not undo what was done."""
        fields = self.log(event)
        oldest_ms = int((now - self._retention_s) * 1000)
        try:
            await self._connection.transaction(
                [
                    (
                        "XADD",
                        keys.AUDIT,
                        "MINID",
                        "~",
                        oldest_ms,
                        "*",
                        "at",
                        int(now * 1000),
                        "e",
                        json.dumps(fields),
                    ),
                    # Failures can be caused by anybody; whatever the number, they must not fill the store.
                    ("XTRIM", keys.AUDIT, "MAXLEN", "~", self._max_events),
                    ("EXPIRE", keys.AUDIT, self._retention_s),
                ]
            )
        except StoreUnavailable:
            self._connection.metrics.audit_unwritten.add()
            log.error("an audit event is in the log only: %s", event.event)

    def log(self, event: Event) -> dict[str, Any]:
        """Write the log line only, for what anybody can cause at no cost: it must cost the store nothing."""
        fields = {name: value for name, value in asdict(event).items() if value is not None}
        log.info("%s", event.event, extra={"fields": fields})
        return fields

    async def page(self, *, before: str | None = None, limit: int) -> tuple[list[Entry], str | None]:
        """Entries older than `before` (an entry's id), newest first, and the id to go on from."""
        end = "+" if before is None else f"({before}"
        rows = await self._connection.call("XREVRANGE", keys.AUDIT, end, "-", "COUNT", limit)
        entries = [_entry(id_, fields) for id_, fields in rows]
        return entries, entries[-1].id if len(entries) == limit else None

    async def after(self, id_: str) -> list[Entry]:
        """All entries newer than this one, oldest first. `id_`: of an entry, or 0-0."""
        entries: list[Entry] = []
        before: str | None = None
        while True:
            end = "+" if before is None else f"({before}"
            rows = await self._connection.call("XREVRANGE", keys.AUDIT, end, f"({id_}", "COUNT", _PAGE)
            entries += [_entry(id_, fields) for id_, fields in rows]
            if len(rows) < _PAGE:
                return entries[::-1]
            before = entries[-1].id

    async def backwards(self) -> AsyncIterator[Entry]:
        """All entries, newest first."""
        before: str | None = None
        while True:
            entries, before = await self.page(before=before, limit=_PAGE)
            for entry in entries:
                yield entry
            if before is None:
                return


def is_cursor(text: str) -> bool:
    # Nothing is before 0-0: the store refuses to look there, which is not the store being down.
    return _ID.fullmatch(text.encode()) is not None and text.strip("0-") != ""


def _entry(id_: bytes, fields: list[bytes]) -> Entry:
    pairs = dict(zip(fields[::2], fields[1::2], strict=True))
    event = Event(**json.loads(pairs[b"e"]))
    return Entry(id_.decode(), int(pairs[b"at"]) / 1000, event)
