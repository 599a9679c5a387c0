"""Admitting a request in frameworks that use threads."""

from collections.abc import Sequence

from authsvc_sdk.answers import Active
from authsvc_sdk.bearer import cookie_in, token_in
from authsvc_sdk.errors import Unavailable
from authsvc_sdk.introspector import Introspector
from authsvc_sdk.refused import Refused, accepted


def admit(
    introspector: Introspector, authorization: Sequence[str], cookies: Sequence[str] = (), cookie: str | None = None
) -> Active | None:
    """The user of a request with these `Authorization` and `Cookie` headers. None: the request has no token.

    cookie: the name of a cookie that may carry the token. Raises Refused.
    """
    token = token_in(authorization, cookie_in(cookies, cookie) if cookie else None)
    if token is None:
        return None
    try:
        return accepted(introspector.introspect(token))
    except Unavailable as error:
        raise Refused.unavailable(error) from error


def is_preflight(method: str, origin: str | None, asked: str | None) -> bool:
    """Whether this is a CORS preflight (WHATWG Fetch, section 3.3.2), which never carries a token.

    asked: the header `Access-Control-Request-Method`.
    """
    return method == "OPTIONS" and bool(origin) and bool(asked)
