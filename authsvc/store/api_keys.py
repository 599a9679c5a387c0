"""The index by which a user's keys are listed, a page at a time."""

import re
from bisect import bisect_right

from authsvc.core.session import Session
from authsvc.driver.connection import Connection
from authsvc.store import keys
from authsvc.store.sessions import Sessions

_CURSOR = re.compile(r"([0-9]{1,12})-([0-9A-Za-z]{12})")


class ApiKeys:
    """`keys:{<sub>}`: the handles of the keys, by their ends. `Sessions.add` and `Sessions.end` write it."""

    def __init__(self, connection: Connection, sessions: Sessions) -> None:
        self._connection = connection
        self._sessions = sessions

    async def page(
        self, sub: str, cursor: str | None, limit: int, now: float
    ) -> tuple[list[tuple[str, Session]], str | None]:
        """A page of the user's keys that have a record, and the cursor of the next page. Keys that end first go first.

        Some keys may be cut off: `decide` says which. A page costs the same whatever the number of the keys, except
        that keys which end in the same second are looked at together.
        """
        index, begins, passed = keys.api_keys(sub), f"({int(now)}", 0  # the dead may be listed still
        if cursor is not None:
            begins, _, last = cursor.partition("-")
            same = await self._connection.call("ZRANGE", index, begins, begins, "BYSCORE")
            passed = bisect_right(same, last.encode())  # equal ends are in the order of the handles
        listed = await self._connection.call(
            "ZRANGE", index, begins, "+inf", "BYSCORE", "LIMIT", passed, limit + 1, "WITHSCORES"
        )
        handles = [handle.decode() for handle, _ in listed[:limit]]
        found = zip(handles, await self._sessions.find_all(handles), strict=True)
        following = f"{int(listed[limit - 1][1])}-{handles[-1]}" if len(listed) > limit else None
        # An import that broke off may have listed a key that it then found to be another user's.
        return [(handle, session) for handle, session in found if session is not None and session.sub == sub], following


def is_cursor(text: str) -> bool:
    return _CURSOR.fullmatch(text) is not None
