"""The format of the store: refusing a newer one, and raising it after an upgrade."""

from authsvc.core.event import Event
from authsvc.core.record import FORMAT, Service
from authsvc.errors import StartupError
from authsvc.flows.deps import Caller, Deps, audit


def refuse_newer_format(service: Service) -> None:
    """Raise StartupError if an operator has raised the store's format above what this version understands."""
    if service.store_format > FORMAT:
        raise StartupError(
            f"the store has format {service.store_format}, and this version understands formats up to {FORMAT}",
            todo="run the version that raised the format, or a newer one",
        )


async def raise_store_format(deps: Deps, caller: Caller) -> int:
    """Let workers write every format that this version understands. Returns the store's new format."""
    before = await deps.store.service.get()
    service = await deps.store.service.change(lambda service: service.with_format(FORMAT))
    if service.store_format != before.store_format:
        await audit(deps, caller, Event.SERVICE_FORMAT_RAISED, format=service.store_format)
    return service.store_format
