"""`authsvc serve --dev`: settings and a demo user for development on this machine."""

import secrets

from authsvc.composition import open_deps
from authsvc.core.address import is_loopback
from authsvc.core.username import normalise
from authsvc.errors import StartupError
from authsvc.flows import users
from authsvc.flows.deps import SERVICE
from authsvc.settings import Settings

DEMO = "demo"
# Where the development servers of the usual tools serve pages.
_PORTS = (3000, 4200, 5000, 5173, 8080)


def for_development(settings: Settings) -> Settings:
    """The settings, with pages on this machine allowed to call and a readable log.

    Raises StartupError if others reach the service.
    """
    if not is_loopback(settings.host):
        raise StartupError(f"--dev is for this machine only, and AUTHSVC_HOST is {settings.host}: use 127.0.0.1")
    local = (f"http://{host}:{port}" for host in ("localhost", "127.0.0.1") for port in _PORTS)
    origins = tuple(dict.fromkeys((*settings.allowed_origins, *local)))
    return settings.but(allowed_origins=origins, log_format=settings.log_format or "text")


async def make_demo_user(settings: Settings, url: str) -> str | None:
    """Make the user `demo` with a random password; the password, or None if there is such a user already.

    Only for an embedded store: a configured store may be one that others use. Raises StoreUnavailable.
    """
    async with open_deps(settings, url) as deps:
        if await deps.store.users.find_by_name(normalise(DEMO)) is not None:
            return None
        password = secrets.token_urlsafe(settings.password_min_length)
        await users.create(deps, SERVICE, username=DEMO, password=password)
        return password
