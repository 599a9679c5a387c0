"""Taking over the users of another system, with the hashes of their passwords."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from authsvc.core import token as tokens
from authsvc.core.event import Event
from authsvc.core.user import ADMIN_ROLE
from authsvc.core.user_import import ImportedUser
from authsvc.errors import AuthError, CorruptRecord, InvalidRequest, StoreUnavailable
from authsvc.flows.deps import Caller, Deps, audit
from authsvc.store.bulk_users import NewUser, Outcome

# How long a store that does not answer is waited for, as during a failover.
PATIENCE_S = 30.0
_PAUSE_S = 0.25
# Told apart; a file of garbage may have as many as it has lines.
_MAX_REASONS = 100


@dataclass(frozen=True, slots=True)
class Row:
    """What one place of a file says of a user, or why it says nothing. `line`: where it begins, from 1."""

    line: int
    fields: Mapping[str, Any] | None = None
    problem: str | None = None


@dataclass(slots=True)
class Tally:
    """What became of the rows. admins, suspended, passwordless: of those created."""

    read: int = 0
    created: int = 0
    there: int = 0
    refused: int = 0
    admins: int = 0
    suspended: int = 0
    passwordless: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first_line: dict[str, int] = field(default_factory=dict)


Refuse = Callable[[int, str], None]


class Importer:
    """Adds batch after batch. `refused`: is told the line and the reason of each row that is not taken.

    Nothing but the batches under way is remembered: who was imported is for the index of names to say, so that an
    import that was killed is started again and passes over those who are there.
    """

    def __init__(self, deps: Deps, *, dry_run: bool, allow_admins: bool, refused: Refuse) -> None:
        self._deps = deps
        self._dry_run = dry_run
        self._allow_admins = allow_admins
        self._refused = refused
        self._under_way: set[str] = set()
        self.tally = Tally()

    async def run(self, caller: Caller, batches: AsyncIterator[Sequence[Row]], *, concurrency: int) -> Tally:
        """Import everything; the trail is told that it begins and, also if the end comes early, how many.

        Raises StoreUnavailable when the store was gone for too long; what is imported until then stays.
        """
        room = asyncio.Semaphore(concurrency)
        if not self._dry_run:  # one that is killed says nothing at its end
            await audit(self._deps, caller, Event.USERS_IMPORT_STARTED)
        try:
            async with asyncio.TaskGroup() as tasks:
                async for batch in batches:
                    await room.acquire()
                    task = tasks.create_task(self._take(batch))
                    task.add_done_callback(lambda _: room.release())
        except* AuthError as errors:
            raise errors.exceptions[0] from None
        finally:
            await self._note(caller)
        return self.tally

    async def _take(self, batch: Sequence[Row]) -> None:
        lines, arrivals = [], []
        now = self._deps.clock()
        for row in batch:
            self.tally.read += 1
            try:
                arrival = self._arrival(row, now)
            except InvalidRequest as error:
                self._refuse(row.line, str(error))
                continue
            lines.append(row.line)
            arrivals.append(arrival)
        names = [arrival.canonical for arrival in arrivals if arrival.canonical is not None]
        try:
            outcomes = await self._patiently(arrivals)
        finally:
            self._under_way.difference_update(names)
        for line, arrival, outcome in zip(lines, arrivals, outcomes, strict=True):
            self._count(line, arrival, outcome)

    def _arrival(self, row: Row, now: float) -> NewUser:
        if row.fields is None:
            raise InvalidRequest(row.problem or "nothing to read")
        imported = ImportedUser.of(row.fields, now)
        if ADMIN_ROLE in imported.roles and not self._allow_admins:
            raise InvalidRequest("the role admin would let this user administer the service: --allow-admins, if meant")
        if imported.canonical is not None:
            if imported.canonical in self._under_way:
                raise InvalidRequest("the same name as in another line shortly before")
            self._under_way.add(imported.canonical)
        user = imported.user(imported.sub or tokens.new_handle(), now)
        return NewUser(imported.canonical, user, imported.credentials(now), own_sub=imported.sub is not None)

    async def _patiently(self, arrivals: Sequence[NewUser]) -> list[Outcome]:
        bulk = self._deps.store.bulk
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await (bulk.look(arrivals) if self._dry_run else bulk.add(arrivals))
            except CorruptRecord:
                raise
            except StoreUnavailable:
                if time.monotonic() > give_up_at:
                    raise
                await asyncio.sleep(_PAUSE_S)

    def _count(self, line: int, arrival: NewUser, outcome: Outcome) -> None:
        if outcome is Outcome.THERE:
            self.tally.there += 1
        elif outcome is Outcome.CREATED:
            self.tally.created += 1
            self.tally.admins += ADMIN_ROLE in arrival.user.roles
            self.tally.suspended += arrival.user.status == "suspended"
            self.tally.passwordless += arrival.credentials.hash is None
        else:
            self._refuse(line, outcome.value)

    def _refuse(self, line: int, reason: str) -> None:
        self.tally.refused += 1
        kind = reason if reason in self.tally.reasons or len(self.tally.reasons) < _MAX_REASONS else "other reasons"
        self.tally.reasons[kind] += 1
        self.tally.first_line[kind] = min(line, self.tally.first_line.get(kind, line))
        self._refused(line, reason)

    async def _note(self, caller: Caller) -> None:
        if self._dry_run:
            return
        # One event for all: a million of them would push everything else out of the trail.
        counts = {name: getattr(self.tally, name) for name in ("created", "there", "refused", "admins")}
        await audit(self._deps, caller, Event.USERS_IMPORTED, **counts)
