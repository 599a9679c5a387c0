"""Issuing a token for a user who was authenticated elsewhere."""

from authsvc.core import scope as scopes
from authsvc.core.authentication import AAL2, Vouched
from authsvc.core.client import CLIENT_ID, REFRESHABLE, Client, Lifetimes
from authsvc.core.event import About, Event
from authsvc.core.issuing import Opening
from authsvc.core.powers import Powers
from authsvc.core.session import ISSUED
from authsvc.core.strength import must_have_factor
from authsvc.core.user import User, check_roles, check_sub
from authsvc.errors import AccessDenied, InsufficientAuthorization, InvalidRequest, UnauthorizedClient
from authsvc.flows.deps import Caller, Deps, audit
from authsvc.flows.grants import Grant, open_session

# How far the clock of an identity provider may be ahead of ours.
_SKEW_S = 60


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
    amr: tuple[str, ...] = (),
    acr: str | None = None,
    auth_time: int | None = None,
    ip: str | None = None,
    user_agent: str | None = None,
    refresh: bool = False,
) -> Grant:
    """Open a session for the user `sub`. Creates the user record if there is none.

    roles: replace those roles of the user that this client may set, at once in every session. Other roles stay. They
    are refused for users with an account here, whose roles only an admin changes, and for users of another client,
    unless this client has `issue_roles`. Only a client that speaks for admins can give the role `admin`.
    device: names the session in the user's list. ip, user_agent: of the user.
    expires_in: seconds that the access token lives; by default the access lifetime of the client.
    amr, acr, auth_time: how and when the user was authenticated, by the word of this client. They take the permission
    `vouch`.
    refresh: whether the session has a refresh token, and lasts as long as a login. Without it, the session ends with
    its access token.
    Raises UnauthorizedClient, AccessDenied, InvalidScope, InvalidRequest, and InsufficientAuthorization if the policy
    demands a second factor that the client does not vouch for.
    """
    if not client.may("issue"):
        raise UnauthorizedClient("this client may not issue tokens: it takes the permission issue")
    vouched = _vouched(client, amr, acr, auth_time, now=int(deps.clock()))
    granted = scopes.within(scope, client.widest_scope(deps.settings.app_scope))
    lifetimes = _lifetimes(client, expires_in, refresh=refresh)
    service = await deps.store.service.get()
    user = await _user(deps, caller, client, check_sub(sub), None if roles is None else check_roles(roles))
    strong = vouched is not None and vouched.by(client.client_id).reaches(AAL2)
    if not strong and must_have_factor(user, client, deps.settings.require_factor_for):
        raise InsufficientAuthorization()
    opening = Opening(
        user=user,
        client=client,
        service=service,
        lifetimes=lifetimes,
        refreshable=refresh,
        scope=granted,
        origin=ISSUED,
        vouched=vouched,
        device=device,
        ip=ip,
        user_agent=user_agent,
    )
    return await open_session(deps, caller, Event.TOKEN_ISSUED, opening)


def _vouched(
    client: Client, amr: tuple[str, ...], acr: str | None, auth_time: int | None, *, now: int
) -> Vouched | None:
    """What the client says of the user's authentication; None: nothing. Raises UnauthorizedClient, InvalidRequest."""
    if not amr and acr is None and auth_time is None:
        return None
    if not client.may("vouch"):
        raise UnauthorizedClient("amr, acr, auth_time: only for a client with the permission vouch")
    if auth_time is not None and auth_time > now + _SKEW_S:
        raise InvalidRequest("auth_time: in the future")
    return Vouched.of(None if auth_time is None else min(auth_time, now), amr, acr)


def _lifetimes(client: Client, expires_in: int | None, *, refresh: bool) -> Lifetimes:
    """The lifetimes of the new session. Raises InvalidRequest, UnauthorizedClient."""
    if refresh and not client.refresh:
        raise UnauthorizedClient("refresh: the sessions of this client have no refresh token")
    longest = client.session_ttl_s or REFRESHABLE.session
    usual = client.lifetimes(refreshable=True)
    access = expires_in or usual.access
    if access > longest:
        raise InvalidRequest(f"expires_in: at most {longest} for this client")
    if refresh:
        return usual._replace(access=access)
    return Lifetimes(access, min(client.idle_ttl_s or access, access), access)


async def _user(deps: Deps, caller: Caller, client: Client, sub: str, roles: tuple[str, ...] | None) -> User:
    now = deps.clock()
    about = About(sub, client_id=client.client_id)
    for role in roles or ():
        if not client.may_set(role, deps.settings.powers.guarded):
            raise UnauthorizedClient(f"roles: this client may not set the role {role}")
    user = await deps.store.users.find(sub)
    if user is None:
        if CLIENT_ID.fullmatch(sub) and await deps.store.clients.find(sub) is not None:
            raise InvalidRequest("sub: the id of a client, whose own tokens have this sub")
        new = User(sub=sub, roles=roles or (), epoch=int(now * 1000), created_at=int(now), created_by=client.client_id)
        if await deps.store.users.create(sub, new):
            await audit(deps, caller, Event.USER_CREATED, about, roles=new.roles)
            return new
        user = await deps.store.users.get(sub)
    powers = deps.settings.powers
    after = _roles_after(client, user, roles, powers)
    if after == user.roles:
        return user
    # An admin or another client may change the user meanwhile, so the rules hold for each attempt.
    changed = await deps.store.users.change(
        sub, lambda held: _with_roles(held, _roles_after(client, held, roles, powers))
    )
    await audit(deps, caller, Event.USER_CHANGED, about, fields=["roles"], roles=changed.roles)
    # The session begins under the epoch that was read first, so a cut-off meanwhile ends it.
    return changed.but(epoch=user.epoch)


def _with_roles(user: User, roles: tuple[str, ...]) -> User:
    return user if roles == user.roles else user.changed(roles=roles)


def _roles_after(client: Client, user: User, wanted: tuple[str, ...] | None, powers: Powers) -> tuple[str, ...]:
    """The roles of the user after this client has set its own. Raises if the client may not do that."""
    if user.status != "active":
        raise AccessDenied("this user is suspended")
    if powers.over(user.roles) and not client.speaks_for_admins:
        raise UnauthorizedClient("this client may not speak for users who have power over others")
    if wanted is None:
        return user.roles
    roles = client.with_roles_set(user.roles, wanted, powers.guarded)
    if roles == user.roles:
        return roles
    if user.username is not None:
        raise InvalidRequest("roles: this user has an account here, whose roles only an admin changes")
    if not client.may_set_roles_of(user):
        raise UnauthorizedClient("roles: another client registered this user, and this client has no issue_roles")
    return roles
