"""Waiting for the store before a service or a worker serves on it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from authsvc.core.client import BUILT_IN
from authsvc.errors import StartupError, StoreUnavailable
from authsvc.flows.deps import Deps
from authsvc.flows.ready import faults
from authsvc.waiting import until

T = TypeVar("T")


async def once_it_answers(deps: Deps, ask: Callable[[Deps], Awaitable[T]]) -> T:
    """What `ask` returns. It is called again for AUTHSVC_STORE_WAIT_S while the store can't be asked.

    Raises StartupError, which says why the store could not be asked, besides what `ask` raises.
    """
    deps.store.connection.refuse_unreadable_files()
    wait_s = deps.settings.store_wait_s
    failure: StoreUnavailable | None = None
    async for _ in until(wait_s, pause_s=0.5):
        try:
            return await ask(deps)
        except StoreUnavailable as error:
            if failure is None or error.todo is not None:  # an open breaker knows no cause
                failure = error
    todo = f" {failure.todo}." if failure and failure.todo else ""
    raise StartupError(f"the store can't be asked: {failure}.{todo} The start waited for AUTHSVC_STORE_WAIT_S={wait_s}")


async def founded_at(deps: Deps) -> int | None:
    """When the first start made the service of this store, in epoch seconds. None: there is no service.

    This time tells services apart: a backup has it too, and nothing changes it. Raises StoreUnavailable.
    """
    client = await deps.store.clients.find(BUILT_IN)
    return None if client is None else client.created_at


async def refuse_wrong_store(deps: Deps, founded: int | None) -> None:
    """Raise StartupError unless the store is fit, as /readyz says, and that of the service that was founded then.

    A first start would set up an empty store. For a worker that takes the place of another, an empty store and the
    store of another service are wrong ones. founded: None if that is not known.
    """
    found = await once_it_answers(deps, faults)
    where = deps.store.connection.where
    if found:
        raise StartupError(f"{where}: {'; '.join(fault.text for fault in found)}")
    present = await once_it_answers(deps, founded_at)
    if founded is not None and present != founded:
        raise StartupError(
            f"{where}: this is the store of another service, which was set up at {_time(present)} and not at "
            f"{_time(founded)}",
            todo="correct AUTHSVC_REDIS_URL; to change to that service, restart",
        )


def _time(seconds: int | None) -> str:
    return "an unknown time" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
