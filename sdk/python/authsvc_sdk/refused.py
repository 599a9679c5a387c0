"""Refusing a request for its token: the answer to send, for any framework. RFC 6750 defines the challenges."""

import json
from typing import Self

from authsvc_sdk.answers import Active, Inactive
from authsvc_sdk.errors import Unavailable

REALM = 'Bearer realm="api"'


class Refused(Exception):
    """The request is refused. `status`, `headers` and `body` are the answer to send."""

    def __init__(self, status: int, error: str, description: str, **headers: str) -> None:
        super().__init__(description)
        self.status = status
        self.body = json.dumps({"error": error, "error_description": description}).encode()
        self.headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        self.headers |= {name.replace("_", "-"): value for name, value in headers.items()}

    @classmethod
    def without_token(cls) -> Self:
        # A request without a token gets a challenge without an error code (RFC 6750 section 3.1).
        return cls(401, "invalid_token", "an access token is required", WWW_Authenticate=REALM)

    @classmethod
    def challenged(cls, status: int, error: str, description: str, **parameters: str) -> Self:
        """With a challenge that names the error."""
        fields = {"error": error, "error_description": description, **parameters}
        challenge = ", ".join([REALM, *(f'{name}="{value}"' for name, value in fields.items())])
        return cls(status, error, description, WWW_Authenticate=challenge)

    @classmethod
    def unavailable(cls, error: Unavailable) -> Self:
        """The answer is 503. A program that gets a 401 logs its user out."""
        after = error.retry_after_s or 1
        return cls(503, "temporarily_unavailable", "tokens can't be checked right now", Retry_After=str(after))


def accepted(answer: Active | Inactive) -> Active:
    """Return the answer if it is active, else raise Refused (401)."""
    if not isinstance(answer, Active):
        raise Refused.challenged(401, "invalid_token", "the access token is not active")
    return answer
