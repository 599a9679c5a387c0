"""Bearer tokens in HTTP, for any framework: find the token, check its user, refuse the request.

RFC 6750 defines the header and the challenges, RFC 9470 the challenge for a login that is too weak or too old.
"""

import re
import time
from collections.abc import Iterable, Sequence

from authsvc_sdk.answers import Active
from authsvc_sdk.errors import Unavailable
from authsvc_sdk.refused import Refused
from authsvc_sdk.requirements import check_demands

# RFC 6750 section 2.1. Servers have removed white space around a header's value; a direct caller may not have.
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
# Optional white space in a header field (RFC 9110 section 5.6.3). Python's `strip()` removes other characters too.
_OWS = " \t"
# How strong a login was, the weakest first.
_LEVELS = ("aal1", "aal2")


def token_in(authorization: Sequence[str], cookie: str | None = None) -> str | None:
    """The token of a request with these `Authorization` headers and this session cookie. None: there is no token.

    Headers of other schemes than Bearer carry no token. Raises Refused (400) for more than one token and for a
    malformed Bearer header (RFC 6750 section 3.1).
    """
    if len(authorization) > 1:
        raise Refused.challenged(400, "invalid_request", "more than one Authorization header")
    header = authorization[0].strip(_OWS) if authorization else ""
    if re.split("[ \t]", header, maxsplit=1)[0].lower() != "bearer":
        return cookie
    if cookie is not None:
        raise Refused.challenged(400, "invalid_request", "both a bearer token and a session cookie")
    match = _BEARER.fullmatch(header)
    if match is None:
        raise Refused.challenged(400, "invalid_request", "Authorization: not a bearer token")
    return match[1]


def cookie_in(headers: Iterable[str], name: str) -> str | None:
    """The value of the cookie `name` in these `Cookie` headers. None: there is no such cookie.

    Raises Refused (400) for two cookies of this name. One of them was planted, and their order does not tell which.
    """
    pairs = (pair.partition("=") for header in headers for pair in header.split(";"))
    values = [value.strip(_OWS) for found, _, value in pairs if found.strip(_OWS) == name]
    if len(values) > 1:
        raise Refused.challenged(400, "invalid_request", "more than one session cookie")
    return values[0] if values else None


def demand(
    user: object, *, scope: str = "", role: str | None = None, acr: str | None = None, max_age_s: int | None = None
) -> Active:
    """Return the user, or raise Refused for what the user lacks.

    scope: space-separated; all of them are needed.
    acr: how strong the login has to be. A login at `aal2` satisfies `aal1` too.
    max_age_s: the longest time since the login, by this machine's clock. A token that was issued without a login
    (`auth_time` is None) never satisfies it.
    Raises TypeError and ValueError for a demand that nobody can meet, as `require` does when it is called.
    """
    check_demands(scope=scope, role=role, acr=acr, max_age_s=max_age_s)
    if not isinstance(user, Active):
        raise Refused.without_token()
    if not user.has_scope(*filter(None, scope.split(" "))):
        raise Refused.challenged(403, "insufficient_scope", "the token does not allow this", scope=scope)
    if role is not None and not user.has_role(role):
        raise Refused.challenged(403, "insufficient_scope", "the user may not do this")
    strong = acr is None or _is_strong(user.acr, acr)
    recent = max_age_s is None or (user.auth_time is not None and time.time() - user.auth_time <= max_age_s)
    if not (strong and recent):
        raise _login_again(acr, max_age_s, "log in again for this" if strong else "this needs a stronger login")
    return user


def refusal_of(error: Refused | Unavailable) -> Refused:
    """The refusal of a request whose route raised this error."""
    return Refused.unavailable(error) if isinstance(error, Unavailable) else error


def _is_strong(acr: str | None, wanted: str) -> bool:
    if acr in _LEVELS and wanted in _LEVELS:
        return _LEVELS.index(acr) >= _LEVELS.index(wanted)
    return acr == wanted


def _login_again(acr: str | None, max_age_s: int | None, description: str) -> Refused:
    # The challenge names both demands, so that one new login can satisfy both (RFC 9470 section 3).
    demands = {"acr_values": acr, "max_age": None if max_age_s is None else str(max_age_s)}
    named = {name: value for name, value in demands.items() if value is not None}
    return Refused.challenged(401, "insufficient_user_authentication", description, **named)
