"""The fixed parts of the contract: its introduction, its tags, security schemes, parameters and header fields."""

import re
from typing import Any

from authsvc.api.route import Scheme, Tag
from authsvc.core.client import CLIENT_ID
from authsvc.core.token import HANDLE_LENGTH
from authsvc.core.user import SUB

REQUEST_ID = re.compile("[A-Za-z0-9-]{1,64}")

ABOUT = """\
Turns an opaque token into *who is this, right now?*

- Every error is `{"error": …, "error_description": …}`. An unknown path answers 404 `not_found`. An unknown method
  answers 405 `method_not_allowed` with `Allow`. `HEAD` works wherever `GET` does.
- A request that breaks HTTP/1.1 gets 400 `invalid_request`, and the service closes the connection.
- A body has at most 64 KiB, and a form 20 KiB. In JSON, the service refuses unlisted fields and repeated keys. In
  forms, it ignores unlisted fields, takes empty fields as absent and refuses repeated fields (RFC 6749 section 3.2).
  An empty parameter of a query counts as absent, too.
- Parameters in a path are percent-encoded. Encode a slash in a subject too (`%2F`).
- A call with the session cookie has to come from this origin or an allowed one, unless it is a GET: `Sec-Fetch-Site`
  or `Origin` has to say so. Two session cookies, or a cookie and a bearer token, are refused.
- 503 means that the service can answer neither yes nor no. Ask again after `Retry-After` seconds.
- The answer and the audit trail repeat an `X-Request-ID` of up to 64 characters of `A-Z a-z 0-9 -`.
"""
TAGS: dict[Tag, str] = {
    "tokens": "issue, refresh, introspect and revoke tokens",
    "account": "for logged-in users: the own sessions and password",
    "users": "for admins",
    "clients": "for admins",
    "audit": "for admins",
    "service": "about the service itself",
}
# Requirements as OpenAPI writes them; `none` is the empty one.
REQUIREMENTS: dict[Scheme, dict[str, list[str]]] = {
    "basic": {"basic": []},
    "bearer": {"bearer": []},
    "cookie": {"cookie": []},
    "none": {},
}
SCHEMES: dict[str, dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an access token, `tok_…` (RFC 6750)"},
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-session",
        "description": "a login with `cookie: true` sets it",
    },
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "client_id and client_secret, each form-urlencoded (RFC 6749 section 2.3.1); "
        "a form may carry them as fields instead. Both may carry the same ones",
    },
}
# By their names in path templates.
PATH_PARAMETERS: dict[str, dict[str, Any]] = {
    "sub": {
        "description": "the user's subject",
        "schema": {"type": "string", "pattern": f"^{SUB.pattern}$"},
        "example": "4fQ0kzPq1LxA",
    },
    "factor_id": {
        "description": "the factor's public id",
        "schema": {"type": "string", "pattern": f"^[0-9A-Za-z]{{{HANDLE_LENGTH}}}$"},
        "example": "4fQ0kzPq1LxA",
    },
    "key_id": {
        "description": "the key's public id",
        "schema": {"type": "string", "pattern": f"^[0-9A-Za-z]{{{HANDLE_LENGTH}}}$"},
        "example": "4fQ0kzPq1LxA",
    },
    "client_id": {
        "description": "the client's id",
        "schema": {"type": "string", "pattern": f"^{CLIENT_ID.pattern}$"},
        "example": "app",
    },
    "session_id": {
        "description": "the session's public id",
        "schema": {"type": "string", "pattern": f"^[0-9A-Za-z]{{{HANDLE_LENGTH}}}$"},
        "example": "4fQ0kzPq1LxA",
    },
}
HEADERS: dict[str, dict[str, Any]] = {
    "RequestId": {
        "description": "the caller's `X-Request-ID`, or a new one",
        "required": True,
        "schema": {"type": "string", "pattern": f"^{REQUEST_ID.pattern}$"},
    },
    "NoStore": {
        "description": "the answer may not be cached",
        "required": True,
        "schema": {"type": "string", "const": "no-store"},
    },
    "RetryAfter": {
        "description": "whole seconds to wait",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "Challenge": {
        "description": "`Basic` for clients, `Bearer` for users (RFC 6749 section 5.2, RFC 6750 section 3)",
        "required": True,
        "schema": {"type": "string"},
    },
}
# The header field that answers of a status have, and its component.
HEADER_OF_STATUS = {
    401: {"WWW-Authenticate": "Challenge"},
    429: {"Retry-After": "RetryAfter"},
    503: {"Retry-After": "RetryAfter"},
}
