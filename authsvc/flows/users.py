"""Administering users."""

from contextlib import nullcontext
from typing import Any

from authsvc.core import token as tokens
from authsvc.core.event import About, Event
from authsvc.core.user import Credentials, User, check_claims, check_roles
from authsvc.core.username import normalise, trimmed
from authsvc.errors import InvalidRequest, NotFound
from authsvc.flows.admins import removing_admin
from authsvc.flows.attempts import lock_windows, place_of
from authsvc.flows.deps import Caller, Deps, audit, require_power_over
from authsvc.flows.password import check_policy, store_reset_code
from authsvc.store.directory import canonical


async def create(
    deps: Deps,
    caller: Caller,
    *,
    username: str,
    password: str | None = None,
    roles: tuple[str, ...] = (),
    claims: dict[str, Any] | None = None,
    code_life_s: int | None = None,
    with_code: bool = True,
) -> tuple[User, str | None]:
    """Register a user. Without a password, also returns a reset code with which the user sets the first one.

    code_life_s: the lifetime of the code; None: AUTHSVC_RESET_CODE_TTL_S. with_code: False for the user of a service,
    for whom only keys speak. An admin may make a code later.

    Raises UsernameTaken, WeakPassword, InvalidRequest, Overloaded.
    """
    username = trimmed(username)
    normalise(username)
    check_claims(claims)
    if password is not None and code_life_s is not None:
        raise InvalidRequest("expires_in: only without a password")
    if password is not None:
        check_policy(deps, password, username)
    now = deps.clock()
    user = User(
        sub=tokens.new_handle(),
        username=username,
        roles=check_roles(roles),
        claims=claims or {},
        epoch=int(now * 1000),
        created_at=int(now),
    )
    code, credentials = None, Credentials()
    if password is None and with_code:
        code, _ = await store_reset_code(deps, user.sub, life_s=code_life_s)
        credentials = credentials.with_reset_code(code.handle)
    elif password is not None:
        credentials = Credentials().with_password(await deps.hasher.hash(password), now)
    await deps.store.users.register(user, credentials)
    await audit(deps, caller, Event.USER_CREATED, About(user.sub), roles=user.roles)
    return user, code.text if code else None


async def update(
    deps: Deps,
    caller: Caller,
    sub: str,
    *,
    username: str | None = None,
    status: str | None = None,
    roles: tuple[str, ...] | None = None,
    claims: dict[str, Any] | None = None,
) -> User:
    """Change the given fields. Suspending ends every session, and reinstating revives none.

    Raises NotFound, UsernameTaken, LastAdmin, InvalidRequest.
    """
    check_claims(claims)
    username = None if username is None else trimmed(username)
    now = deps.clock()
    wanted = {"status": status, "roles": None if roles is None else check_roles(roles), "claims": claims}
    changes: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}

    def change(user: User) -> User:
        require_power_over(deps, caller, user)
        if status == "suspended" and user.status == "active":
            return user.cut_off(now, **changes)
        return user.changed(**changes)

    user = await deps.store.users.get(sub)
    removes = user.is_admin and not change(user).is_admin
    async with removing_admin(deps, f"user:{sub}") if removes else nullcontext():
        if username is not None and username != user.username:
            normalise(username)
            updated = await deps.store.users.rename(sub, username, change)
            await _forget_networks(deps, user)
            changes["username"] = username
        else:
            updated = await deps.store.users.change(sub, change, first=True)
    await deps.store.directory.move(user, updated)
    if updated.status == "suspended":
        deps.store.sessions.delete_cut_off(updated)
    if status == "active":
        await _open(deps, updated)
    details: dict[str, Any] = {"fields": sorted(changes), "epoch": updated.epoch}
    details |= {name: changes[name] for name in ("status", "roles") if name in changes}
    await audit(deps, caller, _event(user, updated), About(sub), **details)
    return updated


async def suspend(deps: Deps, caller: Caller, sub: str) -> User:
    """Let a user in no more, and end every session now. Raises NotFound, AccessDenied, LastAdmin."""
    return await update(deps, caller, sub, status="suspended")


async def reinstate(deps: Deps, caller: Caller, sub: str) -> User:
    """Let a suspended user log in again; no session comes back. Raises NotFound, AccessDenied."""
    return await update(deps, caller, sub, status="active")


async def unlock(deps: Deps, caller: Caller, sub: str) -> User:
    """Forget the wrong passwords and codes that lock an account. Raises NotFound, AccessDenied.

    Locks of single networks stay: they end by themselves, or with a reset code in the network where it is used.
    """
    user = await deps.store.users.get(sub)
    require_power_over(deps, caller, user)
    await _open(deps, user)
    await audit(deps, caller, Event.USER_UNLOCKED, About(sub))
    return user


async def _open(deps: Deps, user: User) -> None:
    await deps.store.throttle.clear(lock_windows(deps.settings, canonical(user), user.sub))
    await deps.store.locked.leave(user.sub)


async def _forget_networks(deps: Deps, user: User) -> None:
    """Forget the known networks of a name that is given up. The next user of the name has other networks."""
    if user.username is not None:
        await deps.store.throttle.clear([place_of(normalise(user.username), None)])


def _event(before: User, after: User) -> Event:
    if before.status == after.status:
        return Event.USER_CHANGED
    return Event.USER_SUSPENDED if after.status == "suspended" else Event.USER_REINSTATED


async def delete(deps: Deps, caller: Caller, sub: str) -> None:
    """Delete a user. Every session of the user ends. Raises NotFound, LastAdmin."""
    user = await deps.store.users.get_to_delete(sub)
    async with removing_admin(deps, f"user:{sub}") if user.is_admin else nullcontext():
        await deps.store.users.remove(sub)
    await _forget_networks(deps, user)
    # Every session of a deleted user is inactive. The epochs only have to be above those of all of them.
    deps.store.sessions.delete_cut_off(user.cut_off(deps.clock()))
    await audit(deps, caller, Event.USER_DELETED, About(sub))


async def find_by_name(deps: Deps, caller: Caller, username: str) -> User | None:
    """The user with this name, whatever its case. For a help desk, users with power over others do not exist."""
    try:
        found = await deps.store.users.find_by_name(normalise(username))
    except InvalidRequest:
        return None  # nobody can have this name
    if found is None or (caller.level is None and deps.settings.powers.over(found[0].roles)):
        return None
    return found[0]


async def get_for_reset(deps: Deps, caller: Caller, sub: str) -> User:
    """The user whose password is to be reset. Only admins may reset an admin, or a help desk could become one.

    Raises NotFound, AccessDenied.
    """
    user = await deps.store.users.get(sub)
    if caller.level is None and deps.settings.powers.over(user.roles):
        raise NotFound("no such user")
    require_power_over(deps, caller, user)
    return user
