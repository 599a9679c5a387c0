"""The client of the console's sessions, which no other client's tokens can open."""

from typing import Final

from authsvc.core.client import Client
from authsvc.flows.deps import Deps

CONSOLE: Final = "console"


async def console_client(deps: Deps) -> Client:
    """The client, which the first login at the console registers. Raises StoreUnavailable."""
    found = await deps.store.clients.find(CONSOLE)
    if found is not None:
        return found
    now = deps.clock()
    # It grants no scope and no refresh token: its tokens are in the cookie of the console, and for nothing else.
    made = Client(
        client_id=CONSOLE, name="console", public=True, scope="", refresh=False, epoch=int(now * 1000),
        created_at=int(now),
    )  # fmt: skip
    await deps.store.clients.create(CONSOLE, made)
    return await deps.store.clients.get(CONSOLE)
