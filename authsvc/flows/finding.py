"""Finding users and clients by what a person types: an id or a name."""

from collections.abc import Iterable
from contextlib import suppress
from difflib import SequenceMatcher, get_close_matches

from authsvc.core import token as tokens
from authsvc.core.client import CLIENT_ID, Client
from authsvc.core.suggestion import MOST, NEAR_BEST, did_you_mean
from authsvc.core.user import User, check_sub
from authsvc.core.username import MAX_LENGTH, normalise
from authsvc.errors import InvalidRequest, NotFound
from authsvc.flows.deps import Deps

# How far a client is looked for by its name where the answer may be left open, in steps of about a thousand keys.
MOST_STEPS = 100
_LONGEST_QUOTED = 64


async def find_user(deps: Deps, who: str) -> User:
    """The user with this sub or name. Raises NotFound, and InvalidRequest if it is one's sub and another's name."""
    found = await any_user(deps, who)
    if found is None:
        raise NotFound(f"no user has the sub or name {quoted(who)}")
    return found


async def any_user(deps: Deps, who: str) -> User | None:
    """The user with this sub or name, if there is one. Raises InvalidRequest if it is one's sub and another's name."""
    by_sub = by_name = None
    with suppress(InvalidRequest):  # no sub looks like this
        by_sub = await deps.store.users.find(check_sub(who))
    with suppress(InvalidRequest):  # nobody is called this
        by_name = await deps.store.users.find_by_name(normalise(who))
    named = by_name[0] if by_name else None
    if by_sub is not None and named is not None and by_sub.sub != named.sub:
        raise InvalidRequest(f"{quoted(who)} is one user's sub and another's name: for the latter say {named.sub}")
    return by_sub or named


async def find_client(deps: Deps, who: str, *, most_steps: int | None = None) -> Client:
    """The client with this id, or else with this name. Raises NotFound, and InvalidRequest if several have the name.

    Finding a name walks over all keys. most_steps: the walk ends after so many steps, each of about a thousand keys.
    """
    if CLIENT_ID.fullmatch(who):
        found = await deps.store.clients.find(who)
        if found is not None:
            return found
    clients, whole = await deps.store.listing.clients_within(most_steps)
    named = [client for client in clients if client.name == who]
    if len(named) > 1:
        ids = ", ".join(sorted(client.client_id for client in named))
        raise InvalidRequest(f"several clients have the name {quoted(who)}: say which of the ids {ids}")
    if not named:
        unsure = "" if whole else " in the part of the store that was searched: try the id"
        raise NotFound(f"no client has the id or name {quoted(who)}{unsure}")
    return named[0]


def suggestion(typed: str, names: Iterable[str]) -> str:
    """A question in parentheses with up to three names that are similar to `typed`. Empty if there are none."""
    if len(typed) > MAX_LENGTH:
        return ""
    folded, wanted = {name.casefold(): name for name in names}, typed.casefold()
    # Of a short name, two letters in the wrong order are a large part.
    swapped = [name for name in folded if len(name) == len(wanted) and sorted(name) == sorted(wanted)]
    near = [folded[name] for name in dict.fromkeys((*swapped, *_close(wanted, folded)))][:MOST]
    return f" ({did_you_mean(near)})" if near else ""


def _close(wanted: str, names: Iterable[str]) -> list[str]:
    """The names that are similar to `wanted`, the nearest first. Names that are far behind the nearest are left out."""
    found = get_close_matches(wanted, names, n=MOST, cutoff=0.7)
    alike = [SequenceMatcher(None, name, wanted).ratio() for name in found]
    return [name for name, ratio in zip(found, alike, strict=True) if ratio >= NEAR_BEST * alike[0]]


def quoted(typed: str) -> str:
    """The typed text in quotes, for a message. Tokens and long texts are not repeated."""
    return "that was given" if tokens.PREFIX.search(typed) or len(typed) > _LONGEST_QUOTED else repr(typed)
