"""The first start on an empty store."""

from authsvc.core import token as tokens
from authsvc.core.client import BUILT_IN, Client, Secret
from authsvc.core.event import About, Event
from authsvc.core.factor_key import FactorKey, missing_keys
from authsvc.core.record import FORMAT, Service
from authsvc.core.token import Kind
from authsvc.errors import StartupError
from authsvc.flows.deps import SERVICE, Deps, audit
from authsvc.flows.store_format import refuse_newer_format


async def first_start(deps: Deps) -> tuple[str, str] | None:
    """Make the service record, the built-in client and one admin client. Does nothing if the store is in use.

    Returns the client_id and the secret of the admin; no copy of the secret remains. None on every later start.
    Raises StartupError.
    """
    service = await deps.store.service.find()
    if service is not None:
        refuse_newer_format(service)
        refuse_wrong_factor_key(service, deps.settings.factor_keys)
        return None
    now = deps.clock()
    epoch, created_at = int(now * 1000), int(now)
    app = Client(client_id=BUILT_IN, name="built-in", public=True, epoch=epoch, created_at=created_at)
    await deps.store.clients.create(BUILT_IN, app)
    secret = tokens.new(Kind.SECRET)
    admin = Client(
        client_id=tokens.new_handle(),
        name="first admin",
        secrets=(Secret(digest=secret.digest),),
        permissions=("admin", "introspect", "revoke", "issue", "reset"),
        epoch=epoch,
        created_at=created_at,
    )
    await deps.store.clients.create(admin.client_id, admin)
    # The service record comes last. If a start fails before that, the next one is a first start again.
    # No older version uses a new store, so the store may have the newest format.
    service = Service(epoch=epoch, store_format=FORMAT, forms_counted_at=created_at)
    if not await deps.store.service.create(service):
        await deps.store.clients.delete(admin.client_id)  # another worker made the first start meanwhile
        return None
    await audit(deps, SERVICE, Event.SERVICE_STARTED_FIRST, About(client_id=admin.client_id))
    return admin.client_id, secret.text


def refuse_wrong_factor_key(service: Service, keys: tuple[FactorKey, ...]) -> None:
    """Raise StartupError if a worker with these keys could not check the codes of users."""
    missing = missing_keys(service, keys)
    if missing:
        raise StartupError(
            f"one-time codes need the factor keys with the ids {', '.join(missing)}",
            todo="add them to AUTHSVC_FACTOR_KEY_FILE, the current key first. If a key is lost: "
            "authsvc service forget-factor-keys",
        )
