"""What a resource server imports: who does this token speak for, right now? Needs httpx only (`authsvc[sdk]`)."""

from authsvc.sdk.answers import INACTIVE, Active, Inactive
from authsvc.sdk.async_introspector import AsyncIntrospector
from authsvc.sdk.errors import Misconfigured, Unavailable
from authsvc.sdk.introspector import Introspector

__all__ = ["INACTIVE", "Active", "AsyncIntrospector", "Inactive", "Introspector", "Misconfigured", "Unavailable"]
