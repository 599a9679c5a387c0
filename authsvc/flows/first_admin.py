"""The first admin who is a person: an invitation that the start prints, and what accepts it."""

from contextlib import suppress
from typing import Final

from authsvc.core import token as tokens
from authsvc.core.client import Client
from authsvc.core.token import Kind, Token
from authsvc.core.user import ADMIN_ROLE, ResetCode, User
from authsvc.core.username import normalise
from authsvc.errors import AuthError, InvalidGrant, StoreUnavailable, UsernameTaken
from authsvc.flows import users
from authsvc.flows.deps import Caller, Deps
from authsvc.flows.password import check_policy

INVITATION_S: Final = 3600
# In the place of a subject, which has no space. So the code of an invitation resets no password.
_NOBODY_YET: Final = "the first admin"
_NOT_OPEN: Final = "this link was used, is too old, or there is an admin already"


async def invite(deps: Deps) -> str | None:
    """Make an invitation: a code for one hour and one use. None if an admin can log in. Raises StoreUnavailable."""
    if await has_admin(deps):
        return None
    code = tokens.new(Kind.RESET)
    until = int(deps.clock()) + INVITATION_S
    await deps.store.codes.create(code.handle, ResetCode(sub=_NOBODY_YET, digest=code.digest, until=until))
    return code.text


async def has_admin(deps: Deps) -> bool:
    """Whether a user with the role admin can log in. Fills the index of admins if nobody has. Clients do not count."""
    if await deps.store.admins.filled_at() is None:
        await deps.store.admins.fill(deps.clock())
    async for page in deps.store.admins.pages():
        people = [one.sub for one in page if not isinstance(one, Client) and one.is_admin and one.username]
        if any(held is not None and held.hash for held in await deps.store.credentials.find_all(people)):
            return True
    return False


async def is_open(deps: Deps, presented: str) -> bool:
    """Whether the code of an invitation can still be used."""
    return await _open_code(deps, presented) is not None


async def accept(deps: Deps, caller: Caller, presented: str, *, username: str, password: str) -> User:
    """Make the first admin. The invitation is spent before, so that it makes one user at most.

    If no user was made, the invitation is good again. Raises InvalidGrant, WeakPassword, InvalidRequest, UsernameTaken,
    Overloaded.
    """
    opened = await _open_code(deps, presented)
    if opened is None:
        raise InvalidGrant(_NOT_OPEN)
    code, record = opened
    check_policy(deps, password, username)
    if await deps.store.users.find_by_name(normalise(username)) is not None:
        raise UsernameTaken("another account has this name")
    if not await deps.store.codes.delete(code.handle):
        raise InvalidGrant(_NOT_OPEN)
    try:
        user, _ = await users.create(deps, caller, username=username, password=password, roles=(ADMIN_ROLE,))
    except AuthError:
        with suppress(StoreUnavailable):
            await deps.store.codes.create(code.handle, record)
        raise
    return user


async def _open_code(deps: Deps, presented: str) -> tuple[Token, ResetCode] | None:
    """The code of an invitation, and its record; None if it makes nobody an admin."""
    code = tokens.parse(presented, Kind.RESET)
    if code is None:
        return None
    record = await deps.store.codes.find(code.handle)
    if record is None or record.sub != _NOBODY_YET or not tokens.is_same_digest(record.digest, code.digest):
        return None
    return None if deps.clock() >= record.until or await has_admin(deps) else (code, record)
