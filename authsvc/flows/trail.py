"""Reading the audit trail for admins, with filters, and with the names of users and clients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from authsvc.flows.deps import Deps
from authsvc.store.audit import StoredEntry, id_at

# How many events one page looks at.
MOST_LOOKED_AT = 20_000
# The store orders events by its own clock, which may differ from the times of the events.
_SKEW_S = 60


@dataclass(frozen=True, slots=True)
class Asked:
    """Which events are asked for. None: whichever.

    event: one event, or the word before its dot. actor: as `Caller.actor`. since, until: epoch seconds, `until` without
    that moment itself.
    """

    sub: str | None = None
    actor: str | None = None
    event: str | None = None
    client_id: str | None = None
    since: float | None = None
    until: float | None = None

    def fits(self, stored: StoredEntry) -> bool:
        entry = stored.entry
        return (
            (self.since is None or stored.at >= self.since)
            and (self.until is None or stored.at < self.until)
            and self.sub in (None, entry.sub)
            and self.actor in (None, entry.actor)
            and self.client_id in (None, entry.client_id)
            and (self.event is None or entry.event == self.event or entry.event.startswith(f"{self.event}."))
        )

    @property
    def beginnings(self) -> dict[str, str]:
        """The members that each entry that fits has, with what their values begin with."""
        asked = {"sub": self.sub, "actor": self.actor, "client_id": self.client_id, "event": self.event}
        return {name: value for name, value in asked.items() if value is not None}


class Names(NamedTuple):
    """The names of the users and clients in a page, by their ids."""

    users: Mapping[str, str]
    clients: Mapping[str, str]

    def actor(self, actor: str) -> str:
        """The actor with the name in the place of the id, as in `user:ada`."""
        kind, colon, id_ = actor.partition(":")
        names = {"user": self.users, "client": self.clients}.get(kind, {})
        return f"{kind}{colon}{names.get(id_, id_)}"


class TrailPage(NamedTuple):
    """Events, newest first, and the cursor of the next page. A page may be short, or empty, before the end.

    searched_to: the time of the oldest event that was looked at, in epoch seconds. None: there was none.
    """

    entries: list[StoredEntry]
    next: str | None
    searched_to: float | None
    names: Names


async def page(deps: Deps, asked: Asked, *, before: str | None = None, limit: int = 100) -> TrailPage:
    """One page of the events that are asked for. Looks at MOST_LOOKED_AT events at most."""
    after = None if asked.since is None else id_at(asked.since - _SKEW_S)
    if before is None and asked.until is not None:
        before = id_at(asked.until + _SKEW_S)
    found = await deps.store.audit.search(
        asked.fits, asked.beginnings, before=before, after=after, limit=limit, most=MOST_LOOKED_AT
    )
    return TrailPage(found.entries, found.next, found.searched_to, await names(deps, found.entries))


async def names(deps: Deps, entries: list[StoredEntry]) -> Names:
    """The names of all users and clients that these entries are about, or that caused them."""
    of_actors = [one.entry.actor.partition(":") for one in entries]
    subs = {one.entry.sub for one in entries} | {id_ for kind, _, id_ in of_actors if kind == "user"}
    ids = {one.entry.client_id for one in entries} | {id_ for kind, _, id_ in of_actors if kind == "client"}
    users = await deps.store.users.find_all([sub for sub in subs if sub])
    clients = await deps.store.clients.find_all([id_ for id_ in ids if id_])
    return Names(
        {user.sub: user.username for user in users if user is not None and user.username is not None},
        {client.client_id: client.name for client in clients if client is not None},
    )
