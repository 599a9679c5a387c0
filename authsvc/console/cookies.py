"""The cookies of a site: no other site reads them or sends them along, and no script reads them."""

from starlette.requests import Request
from starlette.responses import Response

from authsvc.console.local import cookie_name, is_local
from authsvc.web.cookies import values_in


def read(request: Request, name: str) -> str | None:
    """The value of this cookie. None for two of them, because somebody planted one."""
    values = values_in(request.headers.getlist("cookie"), cookie_name(request, name))
    return values[0] if len(values) == 1 and values[0] else None


def write(request: Request, response: Response, name: str, value: str, max_age_s: int | None = None) -> None:
    """Set a cookie. max_age_s: None: until the browser closes."""
    response.set_cookie(
        cookie_name(request, name),
        value,
        max_age=max_age_s,
        path="/",
        secure=not is_local(request),
        httponly=True,
        samesite="lax",
    )


def clear(request: Request, response: Response, name: str) -> None:
    response.delete_cookie(
        cookie_name(request, name), path="/", secure=not is_local(request), httponly=True, samesite="lax"
    )
