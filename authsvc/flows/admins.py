"""Seeing to it that somebody can always administer the service."""

from authsvc.core.client import Client
from authsvc.core.user import User
from authsvc.errors import LastAdmin
from authsvc.flows.deps import Deps


async def refuse_to_lose_the_last_admin(deps: Deps, *, but: User | Client) -> None:
    """Raise LastAdmin unless there is an admin besides this one: a client, or an active user who can log in.

    Guards against mistakes, not against two admins who remove each other in the same moment.
    """
    async for client in deps.store.listing.every_client():
        if client != but and client.may("admin") and client.secrets:
            return
    async for user in deps.store.listing.every_user():
        if user != but and user.is_admin and user.username is not None:
            credentials = await deps.store.credentials.find(user.sub)
            if credentials is not None and credentials.hash is not None:
                return
    raise LastAdmin("nobody would be left to administer the service")
