"""Reading the audit trail for admins, with filters, and with the names of users and clients."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from authsvc.core.client import Client
from authsvc.core.event import KINDS, Event
from authsvc.errors import NotFound
from authsvc.flows.deps import Deps
from authsvc.flows.finding import MOST_STEPS, find_client, find_user, quoted, suggestion
from authsvc.store.audit import StoredEntry, id_at

# How many events one page looks at.
MOST_LOOKED_AT = 20_000
# Actors without an id.
_WITHOUT_ID: Final = frozenset({"anonymous", "github", "operator", "service"})
_WITH_KIND: Final = re.compile(r"(user|client)[: ](.+)")
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


class Resolved(NamedTuple):
    """A question with ids in the place of names.

    not_found: each value that nothing has now, in words. The trail may still have events about it: of a user who was
    deleted, or of a newer version.
    """

    asked: Asked
    not_found: list[str]


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


NOTHING: Final = TrailPage([], None, None, Names({}, {}))


async def page(deps: Deps, asked: Asked, *, before: str | None = None, limit: int = 100) -> TrailPage:
    """One page of the events that are asked for. Looks at MOST_LOOKED_AT events at most."""
    after = None if asked.since is None else id_at(asked.since - _SKEW_S)
    if before is None and asked.until is not None:
        before = id_at(asked.until + _SKEW_S)
    found = await deps.store.audit.search(
        asked.fits, asked.beginnings, before=before, after=after, limit=limit, most=MOST_LOOKED_AT
    )
    return TrailPage(found.entries, found.next, found.searched_to, await names(deps, found.entries))


async def resolved(deps: Deps, asked: Asked) -> Resolved:
    """Put ids in the place of the names that a person typed. Raises InvalidRequest for a name that several have.

    The actor may be an id or a name alone, or with its kind as in `user:ada` and `user ada`.
    """
    ids = _Ids(deps)
    found = replace(
        asked,
        sub=asked.sub and await ids.user(asked.sub),
        actor=asked.actor and await ids.actor(asked.actor),
        client_id=asked.client_id and await ids.client(asked.client_id),
    )
    if asked.event and asked.event not in KINDS and asked.event not in set(Event):
        near = suggestion(asked.event, (*KINDS, *Event))
        ids.not_found.append(f"there is no event type {quoted(asked.event)}{near}")
    return Resolved(found, ids.not_found)


class _Ids:
    """Finds ids. A name that nothing has stays as it is, and `not_found` says so."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self.not_found: list[str] = []

    async def user(self, who: str) -> str:
        try:
            return (await find_user(self._deps, who)).sub
        except NotFound as error:
            self.not_found.append(str(error))
            return who

    async def client(self, who: str) -> str:
        try:
            return (await self._client(who)).client_id
        except NotFound as error:
            self.not_found.append(str(error))
            return who

    async def _client(self, who: str) -> Client:
        return await find_client(self._deps, who, most_steps=MOST_STEPS)

    async def actor(self, who: str) -> str:
        if who in _WITHOUT_ID:
            return who
        if match := _WITH_KIND.fullmatch(who):
            kind, name = match.groups()
            return f"{kind}:{await (self.user if kind == 'user' else self.client)(name)}"
        try:
            return f"user:{(await find_user(self._deps, who)).sub}"
        except NotFound as no_user:
            try:
                return f"client:{(await self._client(who)).client_id}"
            except NotFound as no_client:
                self.not_found += [str(no_user), str(no_client)]
                return who


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
