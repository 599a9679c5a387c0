"""Opening a session: what a login and an issued token have in common."""

from dataclasses import dataclass, field

from authsvc.core import session as sessions
from authsvc.core import token as tokens
from authsvc.core.client import Client, Lifetimes
from authsvc.core.record import Service
from authsvc.core.session import Pair, Session
from authsvc.core.user import User
from authsvc.errors import StoreUnavailable
from authsvc.flows.deps import Caller, Deps, note
from authsvc.flows.roster import end_session, roster


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


async def open_session(
    deps: Deps,
    caller: Caller,
    *,
    event: str,
    user: User,
    client: Client,
    service: Service,
    lifetimes: Lifetimes,
    refreshable: bool,
    scope: str,
    amr: tuple[str, ...] = (),
    device: str | None = None,
    from_user: bool = True,
) -> Grant:
    """Create a session under epochs that were read before the user was authenticated.

    from_user: whether the caller's address is the user's own. Ends the user's oldest session if there are too many.
    """
    now = deps.clock()
    for _ in range(3):
        handle = tokens.new_handle()
        session, pair = sessions.begin(
            handle,
            user=user,
            client=client,
            service=service,
            now=now,
            lifetimes=lifetimes,
            refreshable=refreshable,
            scope=scope,
            amr=amr,
            device=device,
            ip=caller.ip if from_user else None,
            user_agent=caller.user_agent if from_user else None,
        )
        listed = await deps.store.sessions.add(handle, session, now)
        if listed is not None:
            if listed > deps.settings.max_sessions:
                await _keep_to_the_cap(deps, caller, user.sub, handle)
            await note(
                deps,
                caller,
                event,
                sub=user.sub,
                session_id=handle,
                client_id=client.client_id,
                details={"end": session.end, "idle_s": session.idle_s},
            )
            return Grant.of(handle, session, pair, now)
    raise StoreUnavailable("no free handle")  # three collisions in 71 bits: something else is wrong


async def _keep_to_the_cap(deps: Deps, caller: Caller, sub: str, newest: str) -> None:
    most = deps.settings.max_sessions
    present = await roster(deps, sub)
    # Logins at the same time agree on the order, so together they end just what is too much. What nobody can use any
    # more goes first, or a forgotten browser would push out a phone in use.
    present.sort(key=lambda one: (one.dead is None, one.session.created_ms, one.handle == newest, one.handle))
    for one in present[: max(len(present) - most, 0)]:
        await end_session(deps, caller, one.handle, one.session, "too many sessions")
