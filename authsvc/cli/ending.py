"""Ends and counts what users and clients have, for several commands, and says what was done.

Ending never depends on counting: a damaged record costs the number only.
"""

from authsvc.cli.finding import find_client, find_user, named_client, named_user
from authsvc.cli.output import counted
from authsvc.cli.places import operator
from authsvc.core.client import Client
from authsvc.core.record import Service
from authsvc.errors import CorruptRecord, NewerFormat, StoreUnavailable
from authsvc.flows import all_sessions, factors, revoke, sessions
from authsvc.flows.all_sessions import Asked, Count
from authsvc.flows.deps import Deps


async def end_of_user(deps: Deps, who: str) -> str:
    """End all sessions of a user, with one write, and say so. Raises NotFound, InvalidRequest."""
    user = await find_user(deps, who)
    live = await live_of(deps, user.sub)
    await revoke.revoke_user(deps, operator(), user.sub)
    keys = " and every key" if user.key_epoch is not None else ""
    return f"ended {in_words(live)}{keys} of {named_user(user)}"


async def end_of_client(deps: Deps, who: str) -> str:
    """End all sessions opened through a client, with one write, and say so. Raises NotFound, InvalidRequest."""
    client = await find_client(deps, who)
    await revoke.revoke_client(deps, operator(), client.client_id)
    return f"ended {in_words(await ended_of(deps, client))} opened through {named_client(client)}"


async def end_of_both(deps: Deps, who: str, client: str) -> str:
    """End the sessions that a user has through a client, one by one, and say so. Raises NotFound, InvalidRequest."""
    user, through = await find_user(deps, who), await find_client(deps, client)
    live = [one for one in await sessions.list_active(deps, user.sub) if one.session.client_id == through.client_id]
    for one in live:
        await revoke.revoke_session(deps, operator(), one.handle)
    return f"ended {counted(len(live), 'session')} of {named_user(user)} opened through {named_client(through)}"


async def live_of(deps: Deps, sub: str) -> Count | None:
    """The live sessions of a user. None: a record is damaged, so their number is not known."""
    try:
        return Count(len(await sessions.list_active(deps, sub)), whole=True)
    except (CorruptRecord, NewerFormat):
        return None


async def ended_of(deps: Deps, before: Client) -> Count | None:
    """The sessions that a cut-off or a deletion of a client has ended. before: the client as it was."""
    return await _counted(deps, Asked(client_id=before.client_id, client=before))


async def ended_of_all(deps: Deps, before: Service) -> Count | None:
    """The sessions that a cut-off of the service has ended. before: the service as it was."""
    return await _counted(deps, Asked(service=before))


async def _counted(deps: Deps, asked: Asked) -> Count | None:
    try:
        return await all_sessions.count(deps, asked)
    except StoreUnavailable:  # what was to end has ended, and a failure would say that it may not have
        return None


async def factor_count(deps: Deps, sub: str) -> int | None:
    """How many second factors a user has. None: a record is damaged, so their number is not known."""
    try:
        found = await factors.find(deps, sub)
    except (CorruptRecord, NewerFormat):
        return None
    return len(found.passkeys) + len(found.apps)


def suspended(user: str, live: str) -> str:
    """Tell that a user was suspended. user, live: in words."""
    return f"suspended {user}, and ended {live}"


def already(status: str, user: str) -> str:
    """Tell that a user has the wanted status already. user: in words."""
    return f"{user} is {status} already"


def in_words(count: Count | None) -> str:
    if count is None:
        return "all sessions (how many is not known)"
    return counted(count.sessions, "session", at_least=not count.whole)
