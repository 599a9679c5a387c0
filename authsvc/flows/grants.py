"""Opening a session, for a login and for an issued token, and renewing the tokens of one that steps up."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from authsvc.core import issuing
from authsvc.core import token as tokens
from authsvc.core.client import Client
from authsvc.core.event import About, Event
from authsvc.core.event_limit import TOO_MANY_SESSIONS
from authsvc.core.issuing import Opening, Pair
from authsvc.core.record import Service
from authsvc.core.session import Epochs, Found, Session, inactive_reason
from authsvc.core.user import User
from authsvc.errors import InvalidSession, NotFound, StoreUnavailable
from authsvc.flows.deps import Caller, Deps, audit
from authsvc.flows.sessions import end_session, list_sessions

# How often a step-up is tried again because the session was refreshed meanwhile.
_TRIES = 10


@dataclass(frozen=True, slots=True)
class Grant:
    """A successful answer of the token endpoint (RFC 6749 section 5.1). `expires_in`, `session_ends_in`: seconds."""

    session_id: str
    scope: str
    expires_in: int
    session_ends_in: int
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False, default=None)

    @classmethod
    def of(cls, handle: str, session: Session, pair: Pair, now: float) -> "Grant":
        return cls(
            session_id=handle,
            scope=session.granted,
            expires_in=max(session.exp - int(now), 0),
            session_ends_in=max(session.end - int(now), 0),
            access_token=pair.access.text,
            refresh_token=pair.refresh.text if pair.refresh else None,
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What a login asked for in its first request. scope: as it is granted. cookie: whether in cookie mode."""

    scope: str
    device: str | None
    cookie: bool


async def open_login(
    deps: Deps,
    caller: Caller,
    user: User,
    client: Client,
    service: Service,
    asked: Asked,
    *,
    epochs: Epochs,
    amr: tuple[str, ...],
) -> Grant:
    """Create the session of a completed login. epochs: from before its first secret was checked."""
    refreshable = client.refresh and not asked.cookie
    opening = Opening(
        user=user,
        client=client,
        service=service,
        epochs=epochs,
        lifetimes=client.lifetimes(refreshable=refreshable, cookie=asked.cookie),
        refreshable=refreshable,
        scope=asked.scope,
        cookie=asked.cookie,
        amr=amr,
        device=asked.device,
        ip=caller.ip,
        user_agent=caller.user_agent,
    )
    return await open_session(deps, caller, Event.LOGIN_SUCCEEDED, opening)


async def open_session(deps: Deps, caller: Caller, event: Event, opening: Opening) -> Grant:
    """Create a session. Ends the user's least recently used session of its kind if there are too many."""
    now = deps.clock()
    for _ in range(3):
        handle = tokens.new_handle()
        session, pair = issuing.begin(handle, opening, now=now)
        listed = await deps.store.sessions.add(handle, session, now)
        if listed is not None:
            if listed > deps.settings.max_sessions:
                await _keep_to_the_cap(deps, caller, handle, session)
            about = About(session.sub, handle, session.client_id)
            details: dict[str, Any] = {} if session.vouched is None else {"vouched": session.vouched.told()}
            await audit(deps, caller, event, about, end=session.end, idle_s=session.idle_s, **details)
            return Grant.of(handle, session, pair, now)
    raise StoreUnavailable("no free handle")  # three collisions in 71 bits: something else is wrong


async def _keep_to_the_cap(deps: Deps, caller: Caller, newest: str, opened: Session) -> None:
    """End what is above the cap among the user's logins, or among the sessions that one client issued to the user.

    They are counted apart, or a client that issues tokens could end the user's logins and the tokens of other clients.
    """
    present = [one for one in await list_sessions(deps, opened.sub) if _counts_with(one.session, opened)]
    # Inactive sessions end first, or a forgotten browser would push out a phone in use. The order is the same in every
    # worker, so parallel logins together end exactly the surplus.
    present.sort(key=lambda one: (one.reason is None, _last_used(one.session), one.handle == newest, one.handle))
    for one in present[: max(len(present) - deps.settings.max_sessions, 0)]:
        await end_session(deps, caller, one.handle, one.session, TOO_MANY_SESSIONS)


def _counts_with(one: Session, other: Session) -> bool:
    if one.logged_in or other.logged_in:
        return one.logged_in and other.logged_in
    return one.client_id == other.client_id


def _last_used(session: Session) -> tuple[int, int]:
    return session.seen, session.created_ms


class _Refreshed(Exception):
    """The tokens of the session were replaced between its reading and its writing."""


async def strengthen(deps: Deps, handle: str, epochs: Epochs, proven: tuple[str, ...], *, cookie: bool) -> Grant:
    """Give a session new tokens, and the strength that its user has just proven. Its old tokens stop working.

    epochs: from the beginning of the step-up. Raises InvalidSession if the session or one of the epochs has ended.
    """
    now = deps.clock()
    for _ in range(_TRIES):
        # A change of the password raises the user's epoch, and then replaces the tokens of this session too. So the
        # epochs are read together with the session, whose tokens must still be the same when it is written.
        found = await deps.store.lookup.session(handle)
        if found is None or found.user is None or found.client is None or inactive_reason(found, now):
            raise InvalidSession()
        if Epochs.of(found.user, found.client, found.service) != epochs:
            raise InvalidSession()
        try:
            session, pair = await deps.store.sessions.step(handle, _stronger(found, found.client, now, proven, cookie))
        except _Refreshed:
            continue
        except NotFound:
            raise InvalidSession() from None
        return Grant.of(handle, session, pair, now)
    raise StoreUnavailable("the session is refreshed again and again")


def _stronger(
    found: Found, client: Client, now: float, proven: tuple[str, ...], cookie: bool
) -> Callable[[Session], tuple[Session, Pair]]:
    def renewed(session: Session) -> tuple[Session, Pair]:
        if not tokens.is_same_digest(session.access, found.session.access):
            raise _Refreshed()
        lifetimes = client.lifetimes(refreshable=session.refresh is not None, cookie=cookie)
        stronger = issuing.stepped_up(session, client, proven, now=now)
        return issuing.reissue_tokens(stronger, found.handle, now=now, lifetimes=lifetimes)

    return renewed
