"""The session cookie of first-party web apps, and where a request that carries it may come from."""

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

from authsvc.core.address import OWS
from authsvc.core.factors import DEVICE_S
from authsvc.errors import CrossSite, InvalidRequest
from authsvc.flows.deps import Deps

# The prefix makes browsers insist on Secure, Path=/ and no Domain, so no subdomain can plant one (RFC 6265bis).
NAME = "__Host-session"
# The token of a trusted device. It outlives the session.
DEVICE = "__Host-device"


def set_session(response: Response, token: str, max_age_s: int) -> None:
    """Set the cookie for as long as the session can last."""
    response.set_cookie(NAME, token, max_age=max_age_s, path="/", secure=True, httponly=True, samesite="lax")


def set_device(response: Response, token: str) -> None:
    """Set the cookie of a trusted device."""
    response.set_cookie(DEVICE, token, max_age=DEVICE_S, path="/", secure=True, httponly=True, samesite="lax")


def device_token(request: Request) -> str | None:
    """The token in the cookie of a trusted device; None for two cookies, because somebody planted one of them."""
    values = values_in(request.headers.getlist("cookie"), DEVICE)
    return values[0] if len(values) == 1 else None


def clear_session(response: Response) -> None:
    """Make the browser forget the session cookie."""
    response.delete_cookie(NAME, path="/", secure=True, httponly=True, samesite="lax")


def clear_all(response: Response) -> None:
    """Make the browser forget every cookie of this site: only so a cookie of a parent domain goes too."""
    clear_session(response)
    response.headers["Clear-Site-Data"] = '"cookies"'


def session_token(request: Request) -> str | None:
    """The token in the session cookie. Raises InvalidRequest for two cookies, because somebody planted one of them."""
    return token_in(request.headers.getlist("cookie"))


def session_tokens(request: Request) -> list[str]:
    """The tokens in all session cookies, for the calls that end the sessions of a browser."""
    return values_in(request.headers.getlist("cookie"))


_PORTS = {"https": ":443", "http": ":80"}


def note_read(request: Request) -> None:
    """Remember that the request is authenticated by its session cookie, and by nothing else."""
    request.state.session_cookie_read = True


def was_read(request: Request) -> bool:
    """Whether the request is authenticated by its session cookie."""
    return bool(getattr(request.state, "session_cookie_read", False))


def token_in(fields: Iterable[str]) -> str | None:
    """Like `session_token`, from the values of the Cookie fields."""
    values = values_in(fields)
    if len(values) > 1:
        raise InvalidRequest("more than one session cookie")
    return values[0] if values else None


def values_in(fields: Iterable[str], wanted: str = NAME) -> list[str]:
    # RFC 6265bis section 5.6 removes spaces and tabs. `strip()` alone also removes U+0085 and U+00A0, and a cookie with
    # such a byte before `__Host-session` has no protected name: a subdomain can plant it.
    return [
        value.strip(OWS)
        for field in fields
        for name, _, value in (pair.partition("=") for pair in field.split(";"))
        if name.strip(OWS) == wanted
    ]


def refuse_cross_site(request: Request, deps: Deps, *, forwarded: bool = False) -> None:
    """Raise CrossSite unless the browser says that the request comes from our own pages or an allowed origin.

    Browsers send cookies with requests that other sites cause. Such a site can't forge these headers.
    forwarded: a gateway asks about the request, and may name the host of that request in X-Forwarded-Host.
    """
    hosts = [request.headers.get("host", "")]
    if forwarded:
        hosts += request.headers.getlist("x-forwarded-host")
    origin = request.headers.get("origin")
    if origin in deps.settings.allowed_origins:
        return
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site == "same-origin":
            return
    elif origin is not None and any(_is_own(origin, host, deps.settings.base_url) for host in hosts):
        return
    raise CrossSite("a call with the session cookie has to come from this origin or an allowed one")


def _is_own(origin: str, host: str, base_url: str) -> bool:
    """Whether a page of this origin is a page of the host that was asked."""
    # On the way to an HTTPS site, somebody may answer for its HTTP address: such a page is another site's.
    schemes = ("https",) if base_url.startswith("https:") else ("https", "http")
    # Browsers write an origin in lower case and without the port that its scheme has by default (RFC 6454 section 6.1).
    return host != "" and origin in [f"{scheme}://{host.lower().removesuffix(_PORTS[scheme])}" for scheme in schemes]
