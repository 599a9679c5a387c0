"""Issuing a token for a user who was authenticated elsewhere."""

from authsvc.core import scope as scopes
from authsvc.core.client import REFRESHABLE, Client, Lifetimes
from authsvc.core.event import About, Event
from authsvc.core.issuing import Opening
from authsvc.core.session import ISSUED
from authsvc.core.user import User, check_roles, check_sub
from authsvc.errors import AccessDenied, InvalidRequest, UnauthorizedClient
from authsvc.flows.deps import Caller, Deps, audit
from authsvc.flows.grants import Grant, open_session


async def issue(
    deps: Deps,
    caller: Caller,
    client: Client,
    *,
    sub: str,
    scope: str = "",
    expires_in: int | None = None,
    roles: tuple[str, ...] | None = None,
    device: str | None = None,
) -> Grant:
    """Open a session without a refresh token for the user `sub`. Creates the user record if there is none.

    roles: replace those roles of the user that this client may set, at once in every session. Other roles stay. They
    are refused for users with an account here, whose roles only an admin changes, and for users of another client,
    unless this client has `issue_roles`. Only an admin client can give the role `admin`.
    device: a label by which the user recognises the session in a list.
    expires_in: seconds; by default the access lifetime of the client.
    Raises UnauthorizedClient, AccessDenied, InvalidScope, InvalidRequest.
    """
    if not client.may("issue"):
        raise UnauthorizedClient("this client may not issue tokens")
    granted = scopes.within(scope, client.widest_scope(deps.settings.app_scope))
    longest = client.session_ttl_s or REFRESHABLE.session
    seconds = expires_in or client.lifetimes(refreshable=True).access
    if seconds > longest:
        raise InvalidRequest(f"expires_in: at most {longest} for this client")
    service = await deps.store.service.get()
    user = await _user(deps, caller, client, check_sub(sub), None if roles is None else check_roles(roles))
    opening = Opening(
        user=user,
        client=client,
        service=service,
        lifetimes=Lifetimes(seconds, min(client.idle_ttl_s or seconds, seconds), seconds),
        refreshable=False,
        scope=granted,
        origin=ISSUED,
        device=device,
    )
    return await open_session(deps, caller, Event.TOKEN_ISSUED, opening)


async def _user(deps: Deps, caller: Caller, client: Client, sub: str, roles: tuple[str, ...] | None) -> User:
    now = deps.clock()
    about = About(sub, client_id=client.client_id)
    for role in roles or ():
        if not client.may_set(role):
            raise UnauthorizedClient(f"roles: this client may not set the role {role}")
    user = await deps.store.users.find(sub)
    if user is None:
        new = User(sub=sub, roles=roles or (), epoch=int(now * 1000), created_at=int(now), created_by=client.client_id)
        if await deps.store.users.create(sub, new):
            await audit(deps, caller, Event.USER_CREATED, about, roles=new.roles)
            return new
        user = await deps.store.users.get(sub)
    after = _roles_after(client, user, roles)
    if after == user.roles:
        return user
    # An admin or another client may change the user meanwhile, so the rules hold for each attempt.
    changed = await deps.store.users.change(sub, lambda held: _with_roles(held, _roles_after(client, held, roles)))
    await audit(deps, caller, Event.USER_CHANGED, about, fields=["roles"], roles=changed.roles)
    # The session begins under the epoch that was read first, so a cut-off meanwhile ends it.
    return changed.but(epoch=user.epoch)


def _with_roles(user: User, roles: tuple[str, ...]) -> User:
    return user if roles == user.roles else user.changed(roles=roles)


def _roles_after(client: Client, user: User, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """The roles of the user after this client has set its own. Raises if the client may not do that."""
    if user.status != "active":
        raise AccessDenied("this user is suspended")
    if user.is_admin and not client.may("admin"):
        raise UnauthorizedClient("this client may not speak for admins")
    if wanted is None:
        return user.roles
    roles = client.with_roles_set(user.roles, wanted)
    if roles == user.roles:
        return roles
    if user.username is not None:
        raise InvalidRequest("roles: this user has an account here, whose roles only an admin changes")
    if not client.may_set_roles_of(user):
        raise UnauthorizedClient("roles: another client registered this user, and this client has no issue_roles")
    return roles
