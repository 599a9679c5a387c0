"""Keys: making one, listing, rotating and revoking them, and ending all keys of a user."""

from collections.abc import Callable
from dataclasses import dataclass, field

from authsvc.core import api_key
from authsvc.core import scope as scopes
from authsvc.core import token as tokens
from authsvc.core.api_key import Contents
from authsvc.core.client import Client
from authsvc.core.event import About, Event
from authsvc.core.session import KEY, Active, Epochs, Session, inactive_reason
from authsvc.core.user import User
from authsvc.errors import AccessDenied, InvalidRequest, InvalidToken, NotFound, StoreUnavailable
from authsvc.flows.deps import Caller, Deps, audit
from authsvc.flows.sessions import SessionStatus, cut_off, end_session, with_reasons


@dataclass(frozen=True, slots=True)
class Wanted:
    """A key as it is asked for. aud: None: that of the session, or of the client. life_s: in seconds."""

    name: str
    scope: str = ""
    aud: tuple[str, ...] | None = None
    life_s: int = api_key.DEFAULT_LIFE_S
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Issued:
    """A key with its text, which is shown this once."""

    key_id: str
    session: Session
    text: str = field(repr=False)


async def create(deps: Deps, caller: Caller, me: Active, wanted: Wanted) -> Issued:
    """Make a key of the calling user, within the scope and the audience of the session that asks for it.

    Raises InvalidScope, InvalidRequest, InvalidToken.
    """
    contents = within(wanted, me.scope, me.session.aud)
    try:
        user = await ready_for_keys(deps, me.user.sub, User.with_keys)
    except NotFound:
        raise InvalidToken("the session has ended") from None  # the user was deleted
    epochs = me.session.epochs._replace(user=user.key_epoch or 0)
    issued = await _store(deps, contents, user, me.client, epochs)
    # A thief of the session could make a key at the moment in which its owner ends the session. The key would be in the
    # owner's list only afterwards. So the session is looked up again once the key is there.
    if not await _is_active(deps, me):
        await deps.store.sessions.end(issued.key_id, issued.session)
        raise InvalidToken("the session has ended")
    await _audit_created(deps, caller, issued)
    return issued


async def create_for(deps: Deps, caller: Caller, sub: str, wanted: Wanted, client_id: str) -> Issued:
    """Make a key of any user, for an admin. client_id: the client that ends the key when it is cut off.

    Scope and audience stay within those of the client. Raises NotFound, AccessDenied, InvalidScope, InvalidRequest.
    """
    service = await deps.store.service.get()
    client = await deps.store.clients.find(client_id)
    if client is None:
        raise InvalidRequest("client_id: no such client")
    contents = within(wanted, client.scope, client.audience)
    user = await ready_for_keys(deps, sub, with_keys)
    issued = await _store(deps, contents, user, client, Epochs(user.key_epoch or 0, client.epoch, service.epoch))
    await _audit_created(deps, caller, issued)
    return issued


async def ready_for_keys(deps: Deps, sub: str, change: Callable[[User], User]) -> User:
    """The user who is about to get a key, after this change. Only the first key of a user changes the record.

    A change waits for other changes of the record, and is refused if too many wait. Making the next key does not.
    Raises NotFound, TooManyChanges, and what `change` raises.
    """
    user = await deps.store.users.get(sub)
    return user if change(user) is user else await deps.store.users.change(sub, change, durable=False)


def with_keys(user: User) -> User:
    """The user who is about to get a key. Raises AccessDenied."""
    if user.status != "active":
        raise AccessDenied("this user is suspended")
    return user.with_keys()


def within(wanted: Wanted, scope: str | None, audience: tuple[str, ...]) -> Contents:
    """The contents of the key, within this scope (None: any) and this audience (empty: any)."""
    aud = audience if wanted.aud is None else wanted.aud
    if audience and not set(aud) <= set(audience):
        raise InvalidRequest(f"audience: within {' '.join(audience)}")
    if audience and not aud:  # a key without an audience is for every resource server
        raise InvalidRequest("audience: must not be empty")
    return Contents(wanted.name, scopes.within(wanted.scope, scope), aud, wanted.life_s, wanted.networks)


async def _store(deps: Deps, contents: Contents, user: User, client: Client, epochs: Epochs) -> Issued:
    now = deps.clock()
    token = api_key.new_token(deps.settings.key_prefix)
    session = api_key.begun(token.digest, contents, user.sub, client.client_id, epochs, now)
    listed = await deps.store.sessions.add_key(token.handle, session, now)
    if listed is None:
        raise StoreUnavailable("no free handle")
    if listed > api_key.MAX_KEYS:
        await deps.store.sessions.end(token.handle, session)
        raise InvalidRequest(f"this user has {api_key.MAX_KEYS} keys already: revoke some")
    return Issued(token.handle, session, token.text)


async def _audit_created(deps: Deps, caller: Caller, issued: Issued) -> None:
    await audit(deps, caller, Event.KEY_CREATED, _about(issued.key_id, issued.session), end=issued.session.end)


def _about(key_id: str, session: Session) -> About:
    return About(session.sub, key_id, session.client_id)


async def page(deps: Deps, sub: str, cursor: str | None, limit: int) -> tuple[list[SessionStatus], str | None]:
    """Some of the user's active keys, and the cursor of the next page. The keys that end first go first."""
    present, following = await deps.store.api_keys.page(sub, cursor, limit, deps.clock())
    return [one for one in await with_reasons(deps, sub, present) if one.reason is None], following


async def rotate(deps: Deps, caller: Caller, me: Active, key_id: str, overlap_s: int) -> Issued:
    """Give a key of the calling user another secret. Raises NotFound, InvalidToken, TooManyChanges."""
    rotated = await _rotate(deps, key_id, overlap_s, sub=me.user.sub)
    if not await _is_active(deps, me):  # as in `create`: the new secret is told to nobody
        raise InvalidToken("the session has ended")
    await audit(deps, caller, Event.KEY_ROTATED, _about(key_id, rotated.session), overlap_s=overlap_s)
    return rotated


async def rotate_any(deps: Deps, caller: Caller, key_id: str, overlap_s: int) -> Issued:
    """Give a key of any user another secret, for an operator. Raises NotFound, TooManyChanges."""
    rotated = await _rotate(deps, key_id, overlap_s)
    await audit(deps, caller, Event.KEY_ROTATED, _about(key_id, rotated.session), overlap_s=overlap_s)
    return rotated


async def _rotate(deps: Deps, key_id: str, overlap_s: int, *, sub: str | None = None) -> Issued:
    """sub: the owner of the key; None: anybody."""
    now = deps.clock()
    found = await deps.store.lookup.session(key_id) if tokens.is_handle(key_id) else None
    if found is None or not _is_key_of(found.session, sub) or inactive_reason(found, now):
        raise NotFound("no such key")
    token = api_key.new_token(deps.settings.key_prefix, key_id)
    try:
        session = await deps.store.sessions.change(
            key_id, lambda session: api_key.rotated(session, token.digest, now, overlap_s)
        )
    except NotFound:
        raise NotFound("no such key") from None  # it was revoked meanwhile
    return Issued(key_id, session, token.text)


async def get(deps: Deps, key_id: str, *, sub: str | None = None) -> Session:
    """A key, whether it is active or not. sub: its owner; None: anybody. Raises NotFound."""
    session = await deps.store.sessions.find(key_id) if tokens.is_handle(key_id) else None
    if session is None or not _is_key_of(session, sub):
        raise NotFound("no such key")
    return session


async def revoke(deps: Deps, caller: Caller, key_id: str, *, sub: str | None = None) -> Session:
    """End a key, and return it as it was. sub: its owner, who asks for it; None: an operator does. Raises NotFound."""
    if not tokens.is_handle(key_id):
        raise NotFound("no such key")
    session = await deps.store.sessions.find(key_id)
    if session is None:
        await deps.store.sessions.ensure_absent(key_id)
    if session is None or not _is_key_of(session, sub):
        raise NotFound("no such key")
    await end_session(deps, caller, key_id, session, "revoked" if sub is None else "ended by its owner")
    return session


async def revoke_all(deps: Deps, caller: Caller, sub: str) -> None:
    """End every key of a user, in one write. Raises NotFound, AccessDenied."""
    now = deps.clock()
    user = await cut_off(deps, caller, sub, lambda user: user.keys_cut_off(now))
    await audit(deps, caller, Event.USER_KEYS_CUT_OFF, About(sub), epoch=user.key_epoch)


def _is_key_of(session: Session, sub: str | None) -> bool:
    return session.origin == KEY and sub in (None, session.sub)


async def _is_active(deps: Deps, me: Active) -> bool:
    """Whether the session of the caller goes on."""
    found = await deps.store.lookup.session(me.handle)
    return found is not None and inactive_reason(found, deps.clock()) is None
