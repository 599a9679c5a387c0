"""The SDK for resource servers of authsvc: whom does this token speak for, right now? Needs httpx only."""

from authsvc_sdk.answers import INACTIVE, Active, Inactive
from authsvc_sdk.asgi import Anonymous, AuthMiddleware, authorized, while_active
from authsvc_sdk.async_introspector import AsyncIntrospector
from authsvc_sdk.bearer import cookie_in, demand, token_in
from authsvc_sdk.errors import Misconfigured, Unavailable
from authsvc_sdk.exchange import Exchanged
from authsvc_sdk.introspector import Introspector
from authsvc_sdk.refused import Refused, accepted

__version__ = "0.1.0"  # `python -m tools.versions` keeps it equal to the service's

__all__ = ["AsyncIntrospector", "Introspector"]
__all__ += ["INACTIVE", "Active", "Exchanged", "Inactive", "Misconfigured", "Refused", "Unavailable"]
__all__ += ["Anonymous", "AuthMiddleware", "accepted", "authorized", "cookie_in", "demand", "token_in", "while_active"]
