"""The guard against losing the last admin."""

from authsvc.errors import LastAdmin
from authsvc.flows.deps import Deps


async def require_another_admin(deps: Deps, *, client_id: str | None = None, sub: str | None = None) -> None:
    """Raise LastAdmin unless there is an admin besides this one: a client, or an active user who can log in.

    The guard is against mistakes. Two admins who remove each other in the same moment can both succeed.
    """
    async for client in deps.store.listing.every_client():
        if client.client_id != client_id and client.may("admin") and client.secrets:
            return
    async for user in deps.store.listing.every_user():
        if user.sub != sub and user.is_admin and user.username is not None:
            credentials = await deps.store.credentials.find(user.sub)
            if credentials is not None and credentials.hash is not None:
                return
    raise LastAdmin("nobody would be left to administer the service")
