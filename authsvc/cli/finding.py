"""Finds users and clients by what a person types, and the names to show beside ids."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from authsvc.core import token as tokens
from authsvc.core.client import Client
from authsvc.core.user import User, check_sub
from authsvc.core.username import MAX_LENGTH, normalise
from authsvc.errors import InvalidRequest, NotFound
from authsvc.flows.deps import Deps

# How many users are looked at for a name like the one that was typed, and in how many steps.
_PAGE, _MOST_PAGES = 1000, 10
_LONGEST_QUOTED = 64
# How many names are remembered at a time.
_MOST_NAMES = 10_000


async def find_user(deps: Deps, who: str) -> User:
    """The user with this sub or name. Raises NotFound, and InvalidRequest if it is one's sub and another's name."""
    by_sub = by_name = None
    with suppress(InvalidRequest):  # no sub looks like this
        by_sub = await deps.store.users.find(check_sub(who))
    with suppress(InvalidRequest):  # nobody is called this
        by_name = await deps.store.users.find_by_name(normalise(who))
    named = by_name[0] if by_name else None
    if by_sub is not None and named is not None and by_sub.sub != named.sub:
        raise InvalidRequest(f"{quoted(who)} is one user's sub and another's name: for the latter say {named.sub}")
    found = by_sub or named
    if found is None:
        near = did_you_mean(who, [user.username async for user in some_users(deps) if user.username])
        raise NotFound(f"no user has the sub or name {quoted(who)}{near}: `authsvc user list` shows all")
    return found


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
    """The client with this id, or else with this name. Raises NotFound, and InvalidRequest if several have the name."""
    if who.isascii():  # what is not ASCII can't be sent
        found = await deps.store.clients.find(who)
        if found is not None:
            return found
    clients = {client.client_id: client async for client in deps.store.listing.every_client()}
    named = [client for client in clients.values() if client.name == who]
    if len(named) > 1:
        ids = ", ".join(sorted(client.client_id for client in named))
        raise InvalidRequest(f"several clients have the name {quoted(who)}: say which of the ids {ids}")
    if not named:
        near = did_you_mean(who, [client.name for client in clients.values()])
        raise NotFound(f"no client has the id or name {quoted(who)}{near}: `authsvc client list` shows all")
    return named[0]


def did_you_mean(typed: str, names: Iterable[str]) -> str:
    """A question about up to three names like the one that was typed, or an empty text."""
    if len(typed) > MAX_LENGTH:
        return ""
    folded = {name.casefold(): name for name in names}
    near = [folded[name] for name in get_close_matches(typed.casefold(), folded, n=3, cutoff=0.7)]
    return f" (did you mean {', '.join(near[:-1])}{' or ' if near[1:] else ''}{near[-1]}?)" if near else ""


def quoted(typed: str) -> str:
    """What was typed, for a message. Tokens and long texts are not repeated."""
    return "that was given" if tokens.PREFIX.search(typed) or len(typed) > _LONGEST_QUOTED else repr(typed)


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
