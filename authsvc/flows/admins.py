"""The guard against losing the last admin."""

from authsvc.core.client import Client
from authsvc.core.user import User
from authsvc.errors import AdminsUnknown, LastAdmin, StoreUnavailable
from authsvc.flows.deps import Deps


async def require_another_admin(deps: Deps, *, client_id: str | None = None, sub: str | None = None) -> None:
    """Raise LastAdmin unless there is an admin besides this one: a client, or an active user who can log in.

    The guard is against mistakes. Two admins who remove each other in the same moment can both succeed.
    Raises AdminsUnknown if the index of admins is not filled yet and does not name another admin.
    """
    this = f"client:{client_id}" if sub is None else f"user:{sub}"
    if await _is_there_another(deps, this):
        return
    if await deps.store.admins.filled_at() is None:
        try:
            await deps.store.admins.fill(deps.clock())
        except StoreUnavailable as error:  # too many keys for the time of one request
            raise AdminsUnknown("the index of admins is still being filled") from error
        if await _is_there_another(deps, this):
            return
    raise LastAdmin("nobody would be left to administer the service")


async def _is_there_another(deps: Deps, this: str) -> bool:
    async for page in deps.store.admins.pages():
        others = [admin for admin in page if admin.admin_entry() != this]
        if any(isinstance(admin, Client) and admin.secrets for admin in others):
            return True
        users = [admin.sub for admin in others if isinstance(admin, User) and admin.is_admin and admin.username]
        if any(held is not None and held.hash for held in await deps.store.credentials.find_all(users)):
            return True
    return False
