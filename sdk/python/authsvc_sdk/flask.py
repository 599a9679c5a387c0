"""Protection of a Flask application, and requirements of its views. Only this module imports Flask."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Flask, Response, g, request

from authsvc_sdk.admission import admit, is_preflight
from authsvc_sdk.bearer import demand, refusal_of
from authsvc_sdk.errors import Unavailable
from authsvc_sdk.introspector import Introspector
from authsvc_sdk.refused import Refused
from authsvc_sdk.requirements import check_demands, check_introspector


class Auth:
    """Passes requests with an active token, and refuses all others. `flask.g.active` is the user.

    optional: requests without a token pass, and their `g.active` is None. A CORS preflight always does.
    cookie: the name of a cookie that may carry the token. The application must then protect itself from cross-site
    requests.
    """

    def __init__(
        self, app: Flask, introspector: Introspector, *, optional: bool = False, cookie: str | None = None
    ) -> None:
        check_introspector(introspector, Introspector)
        self._introspector = introspector
        self._optional = optional
        self._cookie = cookie
        app.before_request(self._admit)
        app.register_error_handler(Refused, answer)
        app.register_error_handler(Unavailable, answer)  # of a view that calls the introspector itself

    def _admit(self) -> None:
        headers = request.headers
        g.active = admit(self._introspector, headers.getlist("Authorization"), headers.getlist("Cookie"), self._cookie)
        asked = headers.get("Access-Control-Request-Method")
        if g.active is None and not (self._optional or is_preflight(request.method, headers.get("Origin"), asked)):
            raise Refused.without_token()


def require(
    *, scope: str = "", role: str | None = None, acr: str | None = None, max_age_s: int | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a decorator of views that demands more of the user. The arguments are those of `demand`."""
    check_demands(scope=scope, role=role, acr=acr, max_age_s=max_age_s)

    def decorator(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def checked(*args: Any, **options: Any) -> Any:
            demand(g.active, scope=scope, role=role, acr=acr, max_age_s=max_age_s)
            return view(*args, **options)

        return checked

    return decorator


def answer(error: Refused | Unavailable) -> Response:
    """The refusal as an answer of Flask. Unavailable is a 503."""
    refused = refusal_of(error)
    return Response(refused.body, refused.status, refused.headers)
