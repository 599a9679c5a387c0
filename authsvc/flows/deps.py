"""The arguments of every flow: the parts of the service, and the caller."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from authsvc.core.event import MAX_USER_AGENT, About, Entry, Event
from authsvc.core.powers import Level
from authsvc.core.user import User
from authsvc.errors import AccessDenied, NotDurable
from authsvc.hashing.hasher import Hasher
from authsvc.metrics import Metrics
from authsvc.ops.fitness import Fitness
from authsvc.settings import Settings
from authsvc.store import Store
from authsvc.store.memory import Memory


@dataclass(frozen=True, slots=True)
class Deps:
    """The parts of the service. `composition.py` builds them once. clock: returns epoch seconds, UTC."""

    store: Store
    hasher: Hasher
    clock: Callable[[], float]
    settings: Settings
    metrics: Metrics
    fitness: Fitness
    memory: Memory


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a flow and its address, for the audit trail.

    actor: `user:<sub>`, `client:<client_id>`, `operator` (on the command line), `service`, `anonymous`, or `github`
        for its reports of leaked tokens.
    ip: of the user. A web server that may do so names it; else it is the address from which the request came.
    named_by: the client_id of the web server that named `ip`. None: nobody did.
    level: the power of the caller over users. None: none, as for users at their own accounts.
    comment: why the caller does this, in the caller's words (`core/event.py`).
    """

    actor: str = "anonymous"
    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    named_by: str | None = None
    level: Level | None = None
    comment: str | None = field(repr=False, default=None)


OPERATOR = Caller("operator", level="admin")
SERVICE = Caller("service")
_NOTHING = About()


async def audit(
    deps: Deps,
    caller: Caller,
    event: Event,
    about: About = _NOTHING,
    *,
    outcome: str = "success",
    reason: str | None = None,
    kept: bool = True,
    ended: bool = False,
    **details: Any,
) -> None:
    """Write one event to the audit trail and count it.

    kept: False writes the event to the log only, as `core/event_limit.py` does for floods.
    ended: whether the event ended something. Such an event is kept in a flood too.
    details: members that only this event has.
    """
    await audit_each(deps, caller, event, [Happened(about, reason, ended, details)], outcome=outcome, kept=kept)


class Happened(NamedTuple):
    """One event of several that are written together. The members are the arguments of `audit`."""

    about: About
    reason: str | None
    ended: bool
    details: Mapping[str, Any]


async def audit_each(
    deps: Deps,
    caller: Caller,
    event: Event,
    each: Sequence[Happened],
    *,
    outcome: str = "success",
    kept: bool = True,
) -> None:
    """Write events of one kind to the audit trail in one round trip, and count them. See `audit`."""
    written, now = [], deps.clock()
    for about, reason, ended, details in each:
        deps.metrics.count_event(event, outcome, reason, details.get("token_use"))
        entry = Entry(
            event=event,
            actor=caller.actor,
            outcome=outcome,
            sub=about.sub,
            session_id=about.session_id,
            client_id=about.client_id or caller.named_by,
            reason=reason,
            ip=caller.ip,
            user_agent=caller.user_agent and caller.user_agent[:MAX_USER_AGENT],
            request_id=caller.request_id,
            comment=caller.comment,
            details=dict(details) or None,
        )
        if kept and (ended or deps.store.audit.limit.admits(entry, now)):
            written.append(entry)
        else:
            deps.store.audit.log(entry)
    await deps.store.audit.write(written, now)


@asynccontextmanager
async def audit_if_not_durable(
    deps: Deps, caller: Caller, event: Event, about: About, *, reason: str | None = None
) -> AsyncIterator[None]:
    """Audit the change as `unsure` on NotDurable.

    The change was applied, so a retry would find nothing to do and record nothing.
    """
    try:
        yield
    except NotDurable:
        await audit(deps, caller, event, about, outcome="unsure", reason=reason)
        raise


def require_power_over(deps: Deps, caller: Caller, user: User) -> None:
    """Raise AccessDenied if the caller has less power than an admin, and the user has power over others."""
    if caller.level not in (None, "admin") and deps.settings.powers.over(user.roles):
        raise AccessDenied("only an admin may do that to a user who has power over others")
