"""Bearer tokens in HTTP, for any framework: finding one in a request, what to demand of it, and how to refuse.

RFC 6750 for the token and the challenges, RFC 9470 for logins that are too old.
"""

import json
import time
from collections.abc import Sequence
from typing import Self

from authsvc.sdk.answers import Active, Inactive
from authsvc.sdk.errors import Unavailable

_REALM = 'Bearer realm="api"'
_RETRY_AFTER_S = 1


class Refused(Exception):
    """A request that is not let through, with the answer to give: `status`, `headers` and `body`."""

    def __init__(self, status: int, error: str, description: str, **headers: str) -> None:
        super().__init__(description)
        self.status = status
        self.body = json.dumps({"error": error, "error_description": description}).encode()
        self.headers = {
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }

    @classmethod
    def without_token(cls) -> Self:
        # No error code in the challenge for who did not try (RFC 6750 section 3.1).
        return cls(401, "invalid_token", "an access token is required", WWW_Authenticate=_REALM)

    @classmethod
    def challenged(cls, status: int, error: str, description: str, **parameters: str) -> Self:
        """With a challenge that says what is missing."""
        said = {"error": error, "error_description": description, **parameters}
        challenge = ", ".join([_REALM, *(f'{name}="{value}"' for name, value in said.items())])
        return cls(status, error, description, WWW_Authenticate=challenge)

    @classmethod
    def unavailable(cls, error: Unavailable) -> Self:
        """Not a 401: programs log their users out on those."""
        after = error.retry_after_s or _RETRY_AFTER_S
        return cls(503, "temporarily_unavailable", "tokens can't be checked right now", Retry_After=str(after))


def token_in(authorization: Sequence[str], cookie: str | None = None) -> str | None:
    """The token of a request with these `Authorization` headers and this session cookie; None if it has none.

    Credentials of another kind than Bearer are none. More than one token is an error (RFC 6750 section 2).
    """
    if len(authorization) > 1:
        raise Refused.challenged(400, "invalid_request", "more than one Authorization header")
    scheme, _, token = authorization[0].strip().partition(" ") if authorization else ("", "", "")
    if scheme.lower() != "bearer":
        return cookie
    if cookie is not None:
        raise Refused.challenged(400, "invalid_request", "a token in the header and one in the cookie")
    return token.strip()


def accepted(answer: Active | Inactive) -> Active:
    """The answer if it is active; refuses the request otherwise."""
    if not isinstance(answer, Active):
        raise Refused.challenged(401, "invalid_token", "the access token is not active")
    return answer


def demand(user: object, *, scope: str = "", role: str | None = None, max_age_s: int | None = None) -> Active:
    """Refuse whoever is nobody, lacks one of the scopes (space-separated) or the role, or logged in too long ago.

    max_age_s is compared with this machine's clock.
    """
    if not isinstance(user, Active):
        raise Refused.without_token()
    if not user.has_scope(*scope.split()):
        raise Refused.challenged(403, "insufficient_scope", "the token does not allow this", scope=scope)
    if role is not None and not user.has_role(role):
        raise Refused.challenged(403, "insufficient_scope", "the user may not do this")
    if max_age_s is not None and time.time() - user.auth_time > max_age_s:
        raise Refused.challenged(
            401, "insufficient_user_authentication", "log in again for this", max_age=str(max_age_s)
        )
    return user
