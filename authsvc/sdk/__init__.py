"""The SDK for resource servers: whom does this token speak for, right now? Needs httpx only (the extra `sdk`)."""

from authsvc.sdk.answers import INACTIVE, Active, Inactive
from authsvc.sdk.asgi import Anonymous, AuthMiddleware, authorized, while_active
from authsvc.sdk.async_introspector import AsyncIntrospector
from authsvc.sdk.bearer import Refused, accepted, cookie_in, demand, token_in
from authsvc.sdk.errors import Misconfigured, Unavailable
from authsvc.sdk.introspector import Introspector

__all__ = [
    "INACTIVE",
    "Active",
    "Anonymous",
    "AsyncIntrospector",
    "AuthMiddleware",
    "Inactive",
    "Introspector",
    "Misconfigured",
    "Refused",
    "Unavailable",
    "accepted",
    "authorized",
    "cookie_in",
    "demand",
    "token_in",
    "while_active",
]
