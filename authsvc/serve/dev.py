"""`authsvc serve --dev`: settings and a demo user for development on this machine."""

from authsvc.composition import open_deps
from authsvc.errors import StartupError
from authsvc.flows.demo_user import make_demo_user
from authsvc.settings import Settings

# Where the development servers of the usual tools serve pages.
_PORTS = (3000, 4200, 5000, 5173, 8080)


def for_development(settings: Settings) -> Settings:
    """The settings, with pages on this machine allowed to call and a readable log.

    Raises StartupError if others reach the service.
    """
    if not settings.is_local:
        raise StartupError(f"--dev is for this machine only, and AUTHSVC_HOST is {settings.host}: use 127.0.0.1")
    local = (f"http://{host}:{port}" for host in ("localhost", "127.0.0.1") for port in _PORTS)
    origins = tuple(dict.fromkeys((*settings.allowed_origins, *local)))
    return settings.but(allowed_origins=origins, log_format=settings.log_format or "text")


async def demo_user(settings: Settings, url: str) -> str | None:
    """The password of a new user `demo` in an embedded store; None if there is one. Raises StoreUnavailable."""
    async with open_deps(settings, url) as deps:
        return await make_demo_user(deps)
