"""Whether this worker should get traffic."""

from authsvc.errors import NotReady
from authsvc.flows.deps import Deps
from authsvc.ops.fitness import NOT_SET_UP, Fault, faults_of


async def faults(deps: Deps) -> list[Fault]:
    """Everything that makes the store unfit, each once. Raises StoreUnavailable."""
    servers = await deps.fitness.servers()
    asked = (deps.settings.durability, deps.settings.durability_replicas)
    found = [fault for server in servers for fault in faults_of(server, *asked)]
    # A store that is loading answers no GET, and one that is unfit for another reason need not be asked.
    if not found and await deps.store.service.find() is None:
        return [NOT_SET_UP]
    return list(dict.fromkeys(found))


async def ready(deps: Deps) -> None:
    """Return if the store can be asked and is fit. Raises NotReady, StoreUnavailable."""
    found = await faults(deps)
    if found:
        raise NotReady(tuple(fault.code for fault in found))
