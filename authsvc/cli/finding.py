"""Finds users and clients by what a person types, and the names to show beside ids."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from authsvc.core.client import Client
from authsvc.core.user import User
from authsvc.errors import NotFound
from authsvc.flows import finding
from authsvc.flows.deps import Deps
from authsvc.flows.finding import suggestion

# How many users are looked at for a name like the one that was typed, and in how many steps.
_PAGE, _MOST_PAGES = 1000, 10
# How many names are remembered at a time.
_MOST_NAMES = 10_000


async def find_user(deps: Deps, who: str) -> User:
    """As `flows.finding` does it. The error for a user that is not there names similar ones."""
    try:
        return await finding.find_user(deps, who)
    except NotFound as error:
        raise NotFound(f"{error}{await near_users(deps, who)}: `authsvc user list` shows all") from None


async def near_users(deps: Deps, who: str) -> str:
    """A question about the users whose names are like this one, or an empty text."""
    return suggestion(who, [user.username async for user in some_users(deps) if user.username])


async def some_users(deps: Deps) -> AsyncIterator[User]:
    """Users in the order of the store: all of them, or those that a bounded walk finds. May repeat a user."""
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        users, cursor = await deps.store.listing.users(cursor, _PAGE)
        for user in users:
            yield user
        if cursor is None:
            return


async def find_client(deps: Deps, who: str) -> Client:
    """As `flows.finding` does it. The error for a client that is not there names similar ones."""
    try:
        return await finding.find_client(deps, who)
    except NotFound as error:
        near = suggestion(who, [client.name async for client in deps.store.listing.every_client()])
        raise NotFound(f"{error}{near}: `authsvc client list` shows all") from None


def named_user(user: User) -> str:
    return user.sub if user.username is None else f"{user.username} ({user.sub})"


def named_client(client: Client) -> str:
    return f"{client.name} ({client.client_id})"


class Names:
    """The names of users and clients by their ids. Each record is read once."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._users: dict[str, str | None] = {}
        self._clients: dict[str, str | None] = {}

    async def user(self, sub: str | None) -> str | None:
        """The name of this user. None: there is no such user, or it has no name."""
        if sub is None:
            return None
        if sub not in self._users:
            found = await self._deps.store.users.find(sub)
            _remember(self._users, sub, found.username if found else None)
        return self._users[sub]

    async def user_beside(self, sub: str) -> str:
        """The sub, or the name with the sub beside it."""
        name = await self.user(sub)
        return sub if name is None else f"{name} ({sub})"

    async def client(self, client_id: str | None) -> str | None:
        """The name of this client. None: there is no such client."""
        if client_id is None:
            return None
        if client_id not in self._clients:
            found = await self._deps.store.clients.find(client_id)
            _remember(self._clients, client_id, found.name if found else None)
        return self._clients[client_id]

    async def actor(self, actor: str) -> str:
        """An actor of the audit trail with the name in the place of the id, as in `user:ada`."""
        kind, _, id_ = actor.partition(":")
        name = {"user": self.user, "client": self.client}.get(kind)
        return f"{kind}:{await name(id_) or id_}" if name else actor

    async def beside(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The document with the names of its `sub` and `client_id`, as `user` and `client`, after them if known."""
        told: dict[str, Any] = {}
        for field, value in document.items():
            told[field] = value
            if field == "sub" and (name := await self.user(value)) is not None:
                told["user"] = name
            if field == "client_id" and (name := await self.client(value)) is not None:
                told["client"] = name
        return told


def _remember(names: dict[str, str | None], id_: str, name: str | None) -> None:
    if len(names) == _MOST_NAMES:
        names.clear()
    names[id_] = name
