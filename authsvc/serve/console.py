"""The console's part of the start: its socket, its address, and the link that makes the first admin."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from authsvc.composition import open_deps
from authsvc.core.address import in_url, is_loopback
from authsvc.errors import StartupError
from authsvc.flows.first_admin import invite
from authsvc.serve.listening import CONSOLE_PORT, listen
from authsvc.settings import Settings

log = logging.getLogger(__name__)

DEFAULT_PORT = 8001


@contextmanager
def console_socket(
    settings: Settings, refused: Callable[[str], None] = lambda _: None
) -> Iterator[socket.socket | None]:
    """The socket of the console; None if it has none.

    Raises StartupError if the settings ask for a port that can't be had. A port that is only the default may be taken:
    the service starts without a console then, logs it, and calls `refused` with the reason.
    """
    wanted = settings.console_port
    by_default = wanted is None
    if wanted is None:
        wanted = DEFAULT_PORT if settings.redis_url is None and settings.is_local else 0
    found = _opened(settings.console_host, wanted, refused, by_default=by_default) if wanted else None
    if found is None:
        yield None
        return
    with found:
        yield found


def _opened(host: str, port: int, refused: Callable[[str], None], *, by_default: bool) -> socket.socket | None:
    if find_spec("jinja2") is None:
        if by_default:
            return None
        raise StartupError("AUTHSVC_CONSOLE_PORT takes the extra pages: jinja2 is not installed")
    try:
        return listen(host, port, CONSOLE_PORT)
    except StartupError as error:
        if not by_default:
            raise
        log.warning("there is no console: %s", error)
        refused(str(error))
        return None


def port_of(listening: socket.socket | None) -> int:
    """The port of the console; 0 if it has none."""
    return int(listening.getsockname()[1]) if listening is not None else 0


async def console_address(settings: Settings, url: str) -> str:
    """The line that tells the operator where the console is. While there is no admin, its link makes one."""
    host = settings.console_host
    # A browser on this machine may store cookies for this name, and passkeys need it.
    name = "localhost" if is_loopback(host) else in_url(host)
    address = f"http://{name}:{settings.console_port}"
    async with open_deps(settings, url) as deps:
        code = await invite(deps)
    if code is None:
        return f"The console for admins: {address}"
    link = f"{address}/first?code={code}"
    return f"The console for admins is at {address}. Make the first admin there within an hour:\n\n  {link}\n"
