"""Authentication and permissions for Django REST framework. The settings are those of `authsvc_sdk.django`.

A project that uses these classes needs no middleware of the SDK.
"""

import json
from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission

from authsvc_sdk.answers import Active
from authsvc_sdk.bearer import demand
from authsvc_sdk.django import user_of
from authsvc_sdk.refused import Refused
from authsvc_sdk.requirements import check_demands


class Refusal(APIException):
    """A refusal as an exception of Django REST framework, which reads `auth_header` and `wait` for the answer."""

    def __init__(self, refused: Refused) -> None:
        super().__init__()
        self.detail = json.loads(refused.body)
        self.status_code = refused.status
        self.auth_header = refused.headers.get("WWW-Authenticate")
        self.wait = int(refused.headers["Retry-After"]) if "Retry-After" in refused.headers else None


class User:
    """The user of a request, with what Django REST framework expects. `active` is the answer of the service."""

    is_authenticated = is_active = True
    is_anonymous = False

    def __init__(self, active: Active) -> None:
        self.active = active
        self.pk = self.id = active.sub
        self.username = active.display_name

    def __str__(self) -> str:
        return self.username


class BearerAuthentication(BaseAuthentication):
    """Sets `request.user` to a User and `request.auth` to its Active. Other requests get a 401 or a 503."""

    def authenticate(self, request: Any) -> tuple[User, Active] | None:
        try:
            active = user_of(request._request)
        except Refused as refused:
            raise Refusal(refused) from refused
        return None if active is None else (User(active), active)

    def authenticate_header(self, request: Any) -> str:
        """The challenge of a request without a token."""
        return Refused.without_token().headers["WWW-Authenticate"]


def require(
    *, scope: str = "", role: str | None = None, acr: str | None = None, max_age_s: int | None = None
) -> type[BasePermission]:
    """Make a permission class that demands more of the user. The arguments are those of `demand`."""
    check_demands(scope=scope, role=role, acr=acr, max_age_s=max_age_s)

    class Demanded(BasePermission):
        def has_permission(self, request: Any, view: Any) -> bool:
            try:
                demand(request.auth, scope=scope, role=role, acr=acr, max_age_s=max_age_s)
            except Refused as refused:
                raise Refusal(refused) from refused
            return True

    return Demanded
