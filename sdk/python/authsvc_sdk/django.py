"""Middleware for Django, and requirements of views. Only this module and `drf` import Django.

The settings of the project have `AUTHSVC = {"url": …, "client_id": …, "client_secret": …}`, with any other setting of
the introspector. Two more keys are for the middleware: `optional` (default False) and `cookie`.
"""

from collections.abc import Callable
from functools import cache, wraps
from inspect import iscoroutinefunction
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from authsvc_sdk.admission import admit, is_preflight
from authsvc_sdk.answers import Active
from authsvc_sdk.bearer import demand, refusal_of
from authsvc_sdk.errors import Unavailable
from authsvc_sdk.introspector import Introspector
from authsvc_sdk.refused import Refused
from authsvc_sdk.requirements import check_demands

_OF_THE_MIDDLEWARE = ("optional", "cookie")


@cache
def introspector() -> Introspector:
    """The introspector of this project. The cache is on unless the settings say otherwise."""
    if not isinstance(settings.AUTHSVC, dict):
        kind = type(settings.AUTHSVC).__name__
        raise TypeError(f"AUTHSVC: has to be a dict with url, client_id and client_secret, not {kind}")
    given = {name: value for name, value in settings.AUTHSVC.items() if name not in _OF_THE_MIDDLEWARE}
    return Introspector(**{"cache": True, **given})


def user_of(request: HttpRequest, cookie: str | None = None) -> Active | None:
    """The user of a request. None: the request has no token. Raises Refused."""
    headers = {name: [value] if value else [] for name, value in _credentials(request).items()}
    return admit(introspector(), headers["HTTP_AUTHORIZATION"], headers["HTTP_COOKIE"], cookie)


def _credentials(request: HttpRequest) -> dict[str, str]:
    return {name: request.META.get(name, "") for name in ("HTTP_AUTHORIZATION", "HTTP_COOKIE")}


class AuthMiddleware:
    """Passes requests with an active token, and refuses all others. `request.active` is the user.

    optional: requests without a token pass, and their `request.active` is None. A CORS preflight always does.
    cookie: the name of a cookie that may carry the token. Keep Django's CsrfViewMiddleware then. It does not check
    requests with a bearer token, because no other site can make a browser send one.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        introspector()  # a mistake in the settings fails here, and not at each request
        self._get_response = get_response
        self._optional = settings.AUTHSVC.get("optional", False)
        self._cookie = settings.AUTHSVC.get("cookie")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            request.active = user_of(request, self._cookie)
            if request.active is None and not (self._optional or _is_preflight(request)):
                raise Refused.without_token()
        except Refused as refused:
            return answer(refused)
        if request.active is not None and not (self._cookie and self._cookie in request.COOKIES):
            request._dont_enforce_csrf_checks = True
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer with the refusal if a view demands more than the user has, and 503 if it raises Unavailable."""
        return answer(refusal_of(error)) if isinstance(error, Refused | Unavailable) else None


def require(
    *, scope: str = "", role: str | None = None, acr: str | None = None, max_age_s: int | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a decorator of views that demands more of the user. The arguments are those of `demand`."""
    check_demands(scope=scope, role=role, acr=acr, max_age_s=max_age_s)

    def decorator(view: Callable[..., Any]) -> Callable[..., Any]:
        def check(request: HttpRequest) -> None:
            demand(request.active, scope=scope, role=role, acr=acr, max_age_s=max_age_s)

        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **options: Any) -> Any:
            check(request)
            return view(request, *args, **options)

        @wraps(view)
        async def checked_async(request: HttpRequest, *args: Any, **options: Any) -> Any:
            check(request)
            return await view(request, *args, **options)

        return checked_async if iscoroutinefunction(view) else checked

    return decorator


def answer(refused: Refused) -> HttpResponse:
    """The refusal as an answer of Django."""
    return HttpResponse(refused.body, status=refused.status, headers=refused.headers)


def _is_preflight(request: HttpRequest) -> bool:
    headers = request.headers
    return is_preflight(request.method, headers.get("Origin"), headers.get("Access-Control-Request-Method"))
