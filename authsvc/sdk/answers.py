"""What the service says about a token: Active with everything known about it, or Inactive."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from authsvc.sdk.errors import Unavailable
from authsvc.sdk.tokens import handle_of


@dataclass(frozen=True, slots=True)
class Active:
    """Whom a token speaks for, right now. Times: epoch seconds, by the service's clock.

    scope: what the token allows, by RFC 6749 section 3.3; `scopes` is the same as a set. aud: empty if it is for
    everybody. version: raised by every change to the user. claims: read-only, as answers are shared.
    """

    sub: str
    client_id: str
    session_id: str
    exp: int
    iat: int
    auth_time: int
    scope: str = ""
    scopes: frozenset[str] = frozenset()
    username: str | None = None
    roles: frozenset[str] = frozenset()
    amr: tuple[str, ...] = ()
    aud: tuple[str, ...] = ()
    version: int = 0
    claims: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)

    # What Starlette expects of `request.user`.

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
        """Whether the token allows all of these."""
        return self.scopes.issuperset(wanted)

    def has_role(self, *wanted: str) -> bool:
        """Whether the user has all of these."""
        return self.roles.issuperset(wanted)


@dataclass(frozen=True, slots=True)
class Inactive:
    """The token opens nothing: unknown, expired, revoked, or not for this resource server. It is not told which."""


INACTIVE = Inactive()


class Heard(NamedTuple):
    """One answer of the service. recheck_at: until when it may be kept, by the service's clock; None: not at all."""

    answer: Active | Inactive
    recheck_at: int | None


def read(body: object, token: str, audience: str | None = None) -> Heard:
    """Understand what the service said about `token`; raises Unavailable if that makes no sense.

    A misread answer must not become a yes, and not a logout either.
    """
    if not isinstance(body, dict) or not isinstance(body.get("active"), bool):
        raise Unavailable("the service's answer is not an introspection")
    recheck_at = body.get("recheck_at")
    if not isinstance(recheck_at, int):
        recheck_at = None
    if not body["active"]:
        return Heard(INACTIVE, recheck_at)
    try:
        active = _active(body)
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable("the service's answer is incomplete") from error
    if active.session_id != handle_of(token):
        raise Unavailable("the service's answer is about another token")
    if body.get("token_type") != "Bearer" or (audience is not None and audience not in active.aud):
        return Heard(INACTIVE, None)
    return Heard(active, recheck_at)


def _active(body: Mapping[str, Any]) -> Active:
    scope = _text(body.get("scope", ""))
    username = body.get("username")
    return Active(
        sub=_text(body["sub"]),
        client_id=_text(body["client_id"]),
        session_id=_text(body["session_id"]),
        exp=_number(body["exp"]),
        iat=_number(body["iat"]),
        auth_time=_number(body["auth_time"]),
        scope=scope,
        scopes=frozenset(scope.split(" ")) if scope else frozenset(),
        username=None if username is None else _text(username),
        roles=frozenset(_texts(body.get("roles", []))),
        amr=_texts(body.get("amr", [])),
        aud=_texts(body.get("aud", [])),
        version=_number(body.get("version", 0)),
        claims=_frozen(dict(body.get("claims", {}))),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return tuple(_text(item) for item in value)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a number")
    return value


def _frozen(value: Any) -> Any:
    """Read-only all the way down: one request must not change what another one sees."""
    if isinstance(value, dict):
        return MappingProxyType({name: _frozen(item) for name, item in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
