"""The service's answer about a token: Active, with the user and the session, or Inactive."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from authsvc.sdk.errors import Unavailable
from authsvc.sdk.tokens import handle_of


@dataclass(frozen=True, slots=True)
class Active:
    """The user and the session of a token, right now. Times are epoch seconds by the service's clock.

    auth_time: when the user logged in. None: the token was issued without a login.
    acr: how strong the login was, `aal1` or `aal2`. None: the service did not say.
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
    aud: tuple[str, ...] = ()
    version: int = 0
    claims: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)

    # Starlette expects these properties of `request.user`.

    @property
    def is_authenticated(self) -> bool:
        return True

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
    recheck_at = body.get("recheck_at")
    if not isinstance(recheck_at, int):
        recheck_at = None
    if not body["active"]:
        return TimedAnswer(INACTIVE, recheck_at)
    try:
        active = _active(body)
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable("the service's answer is incomplete") from error
    if active.session_id != handle_of(token):
        raise Unavailable("the service's answer is about another token")
    if body.get("token_type") != "Bearer" or (audience is not None and audience not in active.aud):
        return TimedAnswer(INACTIVE, None)
    return TimedAnswer(active, recheck_at)


def _active(body: Mapping[str, Any]) -> Active:
    scope = _text(body.get("scope", ""))
    return Active(
        sub=_text(body["sub"]),
        client_id=_text(body["client_id"]),
        session_id=_text(body["session_id"]),
        exp=_number(body["exp"]),
        iat=_number(body["iat"]),
        auth_time=_number(body["auth_time"]) if "auth_time" in body else None,
        scope=scope,
        scopes=frozenset(scope.split(" ")) if scope else frozenset(),
        username=_optional_text(body.get("username")),
        roles=frozenset(_texts(body.get("roles", []))),
        amr=_texts(body.get("amr", [])),
        acr=_optional_text(body.get("acr")),
        aud=_audience(body.get("aud", [])),
        version=_number(body.get("version", 0)),
        claims=_object(body.get("claims", {})),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return tuple(_text(item) for item in value)


def _audience(value: object) -> tuple[str, ...]:
    # RFC 7519 section 4.1.3: one audience may be a string.
    return (value,) if isinstance(value, str) else _texts(value)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a number")
    return value


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    frozen: Mapping[str, Any] = _frozen(value)
    return frozen


def _frozen(value: Any) -> Any:
    """A read-only copy. Requests share answers, and one request must not change the answer of another."""
    if isinstance(value, dict):
        return MappingProxyType({name: _frozen(item) for name, item in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
