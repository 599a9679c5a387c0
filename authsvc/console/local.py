"""Whether a request comes from a browser on this machine, and the names of cookies that follow from that."""

from urllib.parse import urlsplit

from starlette.requests import Request

from authsvc.core.address import is_loopback

# Each of these says that a proxy passed the request on.
_FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


def is_local(request: Request) -> bool:
    """Whether a program on this machine asked, at a loopback name, and no proxy is in between.

    The name defends against rebinding: a page of another site can only ask at its own name. HTTP/1.0 is what nginx
    speaks to a service unless it is configured, and then it hides the name and the address of its client.
    """
    peer = request.client.host if request.client else ""
    return (
        peer != ""
        and is_loopback(peer)
        and is_loopback_name(request.headers.get("host", ""))
        and request.scope.get("http_version") != "1.0"
        and not any(name in request.headers for name in _FORWARDING)
    )


def is_loopback_name(host: str) -> bool:
    """Whether the value of a Host field names this machine."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and (is_loopback(name) or name.endswith(".localhost"))


def cookie_name(request: Request, name: str) -> str:
    """The name of a cookie. `__Host-` makes browsers insist on TLS, which a browser on this machine does not use.

    Some browsers would not store a cookie with that prefix for http://localhost at all.
    """
    return name if is_local(request) else f"__Host-{name}"
