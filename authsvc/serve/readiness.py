"""Waiting for the store before a service or a worker serves on it."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from authsvc.errors import StartupError, StoreUnavailable
from authsvc.flows.deps import Deps
from authsvc.flows.ready import faults
from authsvc.waiting import until

T = TypeVar("T")


async def once_it_answers(deps: Deps, ask: Callable[[Deps], Awaitable[T]]) -> T:
    """What `ask` returns. It is called again for AUTHSVC_STORE_WAIT_S while the store can't be asked.

    Raises StartupError, which says why the store could not be asked, besides what `ask` raises.
    """
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


async def refuse_unfit_store(deps: Deps) -> None:
    """Raise StartupError unless the store is in use and fit, as /readyz says.

    A first start would set up an empty store. For a worker that takes the place of another, an empty store is the
    wrong one.
    """
    found = await once_it_answers(deps, faults)
    if found:
        raise StartupError("; ".join(fault.text for fault in found))
