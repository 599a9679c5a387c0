"""Making a user to try the service with, for development."""

import secrets

from authsvc.core.username import normalise
from authsvc.flows import users
from authsvc.flows.deps import SERVICE, Deps

DEMO = "demo"


async def make_demo_user(deps: Deps) -> str | None:
    """Make the user `demo` with a random password; the password, or None if there is such a user already.

    Only for an embedded store, because others may use a configured store. Raises StoreUnavailable.
    """
    if await deps.store.users.find_by_name(normalise(DEMO)) is not None:
        return None
    password = secrets.token_urlsafe(deps.settings.password_min_length)
    await users.create(deps, SERVICE, username=DEMO, password=password)
    return password
