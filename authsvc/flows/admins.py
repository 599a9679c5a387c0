"""The guard against losing the last admin."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from authsvc.core.client import Client
from authsvc.core.user import User
from authsvc.errors import AdminsUnknown, LastAdmin, StoreUnavailable, TooManyChanges
from authsvc.flows.deps import Deps

# When a removal may be tried again while another one goes on.
RETRY_AFTER_S = 1


@asynccontextmanager
async def removing_admin(deps: Deps, this: str) -> AsyncIterator[None]:
    """Enter for a change that takes the power of an admin. One such change at a time goes on in the whole service.

    this: the entry of the admin in the index. Raises LastAdmin unless there is another admin: a client, or an active
    user who can log in. Raises AdminsUnknown if the index is not filled yet and names no other admin, and
    TooManyChanges while another admin is being removed.
    """
    removal = deps.store.admins.removal()
    try:
        # A full store takes no new key, and an admin can be suspended all the same.
        with suppress(StoreUnavailable):
            if not await removal.take():
                raise TooManyChanges(RETRY_AFTER_S)
        await _require_another(deps, this)
        yield
    finally:
        with suppress(StoreUnavailable):  # it ends by itself
            await removal.release()


async def _require_another(deps: Deps, this: str) -> None:
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
