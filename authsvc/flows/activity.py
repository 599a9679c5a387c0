"""The user's own part of the audit trail."""

from collections.abc import Collection

from authsvc.flows.deps import Deps
from authsvc.store.audit import StoredEntry

# Each event that is looked at takes some microseconds of the worker, and anybody with an account can ask.
PAGE = 500
PAGES = 4


async def of_user(
    deps: Deps, sub: str, events: Collection[str], *, before: str | None = None, limit: int
) -> tuple[list[StoredEntry], str | None]:
    """The user's events of these names, newest first, and the id to go on from as `before`; None at the end.

    Looks at 2,000 events at most. So a page may be short, or empty, although there are older ones.
    """
    found: list[StoredEntry] = []
    for _ in range(PAGES):
        entries, before = await deps.store.audit.page(before=before, limit=PAGE)
        for stored in entries:
            if stored.entry.sub == sub and stored.entry.event in events:
                found.append(stored)
                if len(found) == limit:
                    return found, stored.id
        if before is None:
            break
    return found, before
