"""The service's answer about a token: Active, with the user and the session, or Inactive."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, TypeVar

from authsvc_sdk.errors import Unavailable
from authsvc_sdk.tokens import handle_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Active:
    """The user and the session of a token, right now. Times are epoch seconds by the service's clock.

    auth_time: when the user was authenticated. None: nobody told the service.
    acr: the level of assurance, such as `aal2`. None: unknown.
    vouched_by: the client by whose word the user was authenticated elsewhere. None: the user logged in at the service.
    token_use: `client` if the token speaks for a client itself and for no user, `key` for a key, `exchanged` if
    a client got it in exchange for another, to act for its user. None: a session.
    act: the client that acts for the user with an exchanged token (RFC 8693 section 4.1).
    clients: those on which the token depends besides `client_id`.
    scope: what the token allows (RFC 6749 section 3.3). `scopes` is the same as a set.
    aud: the resource servers that the token is for. Empty: for all of them.
    version: rises with every change to the user.
    claims: read-only, because requests share answers.
    """

    sub: str
    client_id: str
    session_id: str
    exp: int
    iat: int
    auth_time: int | None = None
    scope: str = ""
    scopes: frozenset[str] = frozenset()
    username: str | None = None
    roles: frozenset[str] = frozenset()
    amr: tuple[str, ...] = ()
    acr: str | None = None
    vouched_by: str | None = None
    token_use: str | None = None
    act: Mapping[str, Any] | None = field(default=None, hash=False)
    clients: tuple[str, ...] = ()
    aud: tuple[str, ...] = ()
    version: int = 0
    claims: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)

    # Starlette expects these properties of `request.user`.

    is_authenticated: ClassVar[bool] = True

    @property
    def display_name(self) -> str:
        return self.username or self.sub

    @property
    def identity(self) -> str:
        return self.sub

    def has_scope(self, *wanted: str) -> bool:
        """Whether the token allows all of these scopes."""
        return self.scopes.issuperset(wanted)

    def has_role(self, *wanted: str) -> bool:
        """Whether the user has all of these roles."""
        return self.roles.issuperset(wanted)


@dataclass(frozen=True, slots=True)
class Inactive:
    """An unknown, expired or revoked token, or one for another resource server. The service does not say which."""


INACTIVE = Inactive()


class TimedAnswer(NamedTuple):
    """An answer, and how long it may be cached.

    recheck_at: when to ask again, by the service's clock. None: an active answer must not be cached.
    """

    answer: Active | Inactive
    recheck_at: int | None


def read(body: object, token: str, audience: str | None = None) -> TimedAnswer:
    """Read the service's answer about `token`. Raises Unavailable for a malformed answer.

    A malformed answer must become neither a yes nor a logout.
    """
    if not isinstance(body, dict) or not isinstance(body.get("active"), bool):
        raise Unavailable("the service's answer is not an introspection")
    if not body["active"]:
        return TimedAnswer(INACTIVE, None)
    try:
        active = _active(body)
        recheck_at = body.get("cache", body).get("recheck_at")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise Unavailable("the service's answer is incomplete") from error
    if active.session_id != handle_of(token):
        raise Unavailable("the service's answer is about another token")
    if body.get("token_type") != "Bearer" or (audience is not None and audience not in active.aud):
        return TimedAnswer(INACTIVE, None)
    return TimedAnswer(active, recheck_at if type(recheck_at) is int else None)


def _active(body: Mapping[str, Any]) -> Active:
    scope = _typed(body.get("scope", ""), str)
    return Active(
        sub=_typed(body["sub"], str),
        client_id=_typed(body["client_id"], str),
        session_id=_typed(body["session_id"], str),
        exp=_typed(body["exp"], int),
        iat=_typed(body["iat"], int),
        auth_time=_typed(body["auth_time"], int) if "auth_time" in body else None,
        scope=scope,
        scopes=frozenset(scope.split(" ")) if scope else frozenset(),
        username=_text_or_none(body.get("username")),
        roles=frozenset(_texts(body.get("roles", []))),
        amr=_texts(body.get("amr", [])),
        acr=_text_or_none(body.get("acr")),
        vouched_by=_text_or_none(body.get("vouched_by")),
        token_use=_text_or_none(body.get("token_use")),
        act=_frozen(_typed(body["act"], dict)) if "act" in body else None,
        clients=_texts(_typed(body["cache"], dict)["clients"]) if "cache" in body else (),
        aud=_audience(body.get("aud", [])),
        version=_typed(body.get("version", 0), int),
        claims=_frozen(_typed(body.get("claims", {}), dict)),
    )


def _typed(value: object, kind: type[T]) -> T:
    """The value, if it is of exactly this type: a number must not be a boolean. Raises TypeError."""
    if type(value) is not kind:
        raise TypeError(f"not {kind.__name__}")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _typed(value, str)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_typed(item, str) for item in _typed(value, list))


def _audience(value: object) -> tuple[str, ...]:
    # RFC 7519 section 4.1.3: one audience may be a string.
    return (value,) if isinstance(value, str) else _texts(value)


def _frozen(value: Any) -> Any:
    """A read-only copy. Requests share answers, and one request must not change the answer of another."""
    if isinstance(value, dict):
        return MappingProxyType({name: _frozen(item) for name, item in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
