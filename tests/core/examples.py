"""Records as tests need them: a user, a client, the service, and a session that has just begun."""

from typing import Any

from authsvc.core import issuing
from authsvc.core.client import Client, Lifetimes
from authsvc.core.issuing import Opening, Pair
from authsvc.core.record import Service
from authsvc.core.session import Found, Session
from authsvc.core.token import Kind, Token, new
from authsvc.core.user import User

NOW = 1_700_000_000
HANDLE = "4fQ0kzPq1LxA"
GRACE_S = 10
LIFETIMES = Lifetimes(access=900, idle=86400, session=30 * 86400)


def a_user(**fields: Any) -> User:
    known: dict[str, Any] = {"sub": "u1", "username": "ada", "epoch": NOW * 1000, "created_at": NOW}
    return User(**known | fields)


def a_client(**fields: Any) -> Client:
    known: dict[str, Any] = {"client_id": "app", "name": "app", "epoch": NOW * 1000, "created_at": NOW}
    return Client(**known | fields)


def a_service() -> Service:
    return Service(epoch=NOW * 1000)


def begun(
    *, now: float = NOW, scope: str = "read write", lifetimes: Lifetimes = LIFETIMES, refreshable: bool = True
) -> tuple[Session, Pair]:
    """A session that has just begun, and its tokens."""
    opening = Opening(
        user=a_user(),
        client=a_client(),
        service=a_service(),
        lifetimes=lifetimes,
        refreshable=refreshable,
        scope=scope,
    )
    return issuing.begin(HANDLE, opening, now=now)


def found(session: Session, **parts: Any) -> Found:
    """The session as it is looked up, with all that decides about it."""
    known: dict[str, Any] = {"user": a_user(), "client": a_client(), "service": a_service()}
    return Found(HANDLE, session, **known | parts)


def forged(kind: Kind) -> Token:
    """A well-formed token with the session's handle that was never issued."""
    return new(kind, HANDLE)


def refresh_of(pair: Pair) -> Token:
    assert pair.refresh is not None
    return pair.refresh
