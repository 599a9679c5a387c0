"""Opening the sockets of the service."""

import errno
import os
import socket
from ipaddress import ip_address
from typing import NamedTuple

from authsvc.errors import StartupError


class PortSettings(NamedTuple):
    """What chooses a port and its address, as an error names it."""

    port: str
    host: str
    purpose: str = "listen"


SERVICE_PORT = PortSettings("--port or AUTHSVC_PORT", "--host or AUTHSVC_HOST")
CONSOLE_PORT = PortSettings("AUTHSVC_CONSOLE_PORT", "AUTHSVC_CONSOLE_HOST")
METRICS_PORT = PortSettings("AUTHSVC_METRICS_PORT", "AUTHSVC_METRICS_HOST", "serve metrics")


def listen(host: str, port: int, named: PortSettings) -> socket.socket:
    """Listen on a port. `::` is every address, those of IPv4 too. Raises StartupError, which says what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    dualstack = family == socket.AF_INET6 and _is_every_address(host) and socket.has_dualstack_ipv6()
    try:
        # `create_server` makes an OSError without a reason of this error. Bytes are not encoded as an IDNA name.
        socket.getaddrinfo(host.encode(), port, family)
        return socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=dualstack)
    except OSError as error:
        unknown = isinstance(error, socket.gaierror)
        why = "no such host" if unknown else os.strerror(error.errno or 0).lower()
        code = errno.EADDRNOTAVAIL if unknown else error.errno or 0
        todo = {
            errno.EADDRINUSE: f"; choose another port with {named.port}",
            errno.EACCES: f"; choose a port above 1023 with {named.port}",
            errno.EADDRNOTAVAIL: f"; choose an address of this machine with {named.host}",
        }.get(code, "")
        raise StartupError(f"can't {named.purpose} on {host}, port {port}: {why}{todo}") from None


def _is_every_address(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False
