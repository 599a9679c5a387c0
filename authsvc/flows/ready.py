"""Whether this worker should get traffic."""

from authsvc.core.factor_key import missing_keys
from authsvc.core.record import FORMAT, Service
from authsvc.errors import NotReady
from authsvc.flows.deps import Deps
from authsvc.ops.fitness import NEWER_FORMAT, NOT_SET_UP, WRONG_FACTOR_KEY, Fault, faults_of, forbidden


async def faults(deps: Deps) -> list[Fault]:
    """All faults that make the store unfit, each once. Raises StoreUnavailable."""
    denied = [forbidden(right) for right in await deps.fitness.denied()]
    if denied:  # what is asked below may be among it
        return denied
    servers = await deps.fitness.servers()
    asked = (deps.settings.durability, deps.settings.durability_replicas)
    found = [fault for server in servers for fault in faults_of(server, *asked)]
    # The service record is read last: while the store is loading, reading fails.
    return list(dict.fromkeys(found)) or _faults_of(deps, await deps.store.service.find())


def _faults_of(deps: Deps, service: Service | None) -> list[Fault]:
    if service is None:
        return [NOT_SET_UP]
    found = [NEWER_FORMAT] if service.store_format > FORMAT else []
    return [*found, WRONG_FACTOR_KEY] if missing_keys(service, deps.settings.factor_keys) else found


async def ready(deps: Deps) -> None:
    """Return if the store can be asked and is fit. Raises NotReady, StoreUnavailable."""
    found = await faults(deps)
    if found:
        raise NotReady(tuple(fault.code for fault in found))
