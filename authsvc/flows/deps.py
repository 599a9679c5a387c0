"""What every flow is given: the parts of the service, and who is asking."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from authsvc.errors import NotDurable
from authsvc.hashing.hasher import Hasher
from authsvc.metrics import Metrics
from authsvc.ops.fitness import Fitness
from authsvc.settings import Settings
from authsvc.store import Store
from authsvc.store.audit import Event


@dataclass(frozen=True, slots=True)
class Deps:
    """Built once by `composition.py`, passed by hand. clock: epoch seconds, UTC."""

    store: Store
    hasher: Hasher
    clock: Callable[[], float]
    settings: Settings
    metrics: Metrics
    fitness: Fitness


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks and from where, for the audit trail.

    actor: `user:<sub>`, `client:<client_id>`, `operator` (on the command line) or `anonymous`.
    """

    actor: str = "anonymous"
    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None


OPERATOR = Caller("operator")


async def note(
    deps: Deps,
    caller: Caller,
    event: str,
    *,
    outcome: str = "success",
    sub: str | None = None,
    session_id: str | None = None,
    client_id: str | None = None,
    reason: str | None = None,
    details: dict[str, Any] | None = None,
    kept: bool = True,
) -> None:
    """Write one event to the audit trail and count it; to the log only, if it is not to be kept."""
    deps.metrics.noted(event, outcome, reason)
    entry = Event(
        event=event,
        actor=caller.actor,
        outcome=outcome,
        sub=sub,
        session_id=session_id,
        client_id=client_id,
        reason=reason,
        ip=caller.ip,
        user_agent=caller.user_agent and caller.user_agent[:120],
        request_id=caller.request_id,
        details=details,
    )
    if kept:
        await deps.store.audit.write(entry, deps.clock())
    else:
        deps.store.audit.log(entry)


@asynccontextmanager
async def doubted(deps: Deps, caller: Caller, event: str, **about: Any) -> AsyncIterator[None]:
    """Note a change that was made and may not last, if it can't be asked for again: who does would find it made."""
    try:
        yield
    except NotDurable:
        await note(deps, caller, event, outcome="unsure", **about)
        raise
