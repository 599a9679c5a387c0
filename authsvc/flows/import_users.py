"""Imports users from another system, with the hashes of their passwords."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from authsvc.core import token as tokens
from authsvc.core.event import Event
from authsvc.core.imported_hash import is_weak
from authsvc.core.powers import Powers
from authsvc.core.user_import import ImportedUser
from authsvc.errors import AuthError, CorruptRecord, FormatNotAllowed, InvalidRequest, NewerFormat, StoreUnavailable
from authsvc.flows.deps import Caller, Deps, audit
from authsvc.flows.imported_forms import ImportedForms
from authsvc.store.bulk_users import InsertOutcome, NewUser
from authsvc.waiting import until

T = TypeVar("T")

# How long an import waits for a store that does not answer, as during a failover.
STORE_WAIT_S = 30.0
_PAUSE_S = 0.25
# How many reasons are counted each by itself. A file of garbage may have as many reasons as lines.
_MAX_REASONS = 100
_WEAK = (
    "salted SHA is weak, an attacker who reads the store tries billions of passwords a second: "
    "--accept-weak-hashes, if meant"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One user of a file, or the reason why the place holds none. `line`: where the row begins, from 1."""

    line: int
    fields: Mapping[str, Any] | None = None
    problem: str | None = None


@dataclass(slots=True)
class Tally:
    """The counts of an import. `there`: users who existed already.

    `admins`, `suspended` and `passwordless` count created users. `admins`: all who have power over others.
    """

    read: int = 0
    created: int = 0
    there: int = 0
    refused: int = 0
    admins: int = 0
    suspended: int = 0
    passwordless: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first_line: dict[str, int] = field(default_factory=dict)

    def count_created(self, new: NewUser, powers: Powers) -> None:
        self.created += 1
        self.admins += powers.over(new.user.roles)
        self.suspended += new.user.status == "suspended"
        self.passwordless += new.credentials.hash is None

    def count_refused(self, line: int, reason: str) -> None:
        self.refused += 1
        kind = reason if reason in self.reasons or len(self.reasons) < _MAX_REASONS else "other reasons"
        self.reasons[kind] += 1
        self.first_line[kind] = min(line, self.first_line.get(kind, line))


class Importer:
    """Adds batch after batch. `refused` is called with the line and the reason of each row that is refused.

    accept_weak: whether to take weak hashes (`imported_hash.is_weak`).

    The importer remembers only the batches that it is working on. The index of names knows who exists, so an import
    that was killed can start again with the same file.
    """

    def __init__(
        self,
        deps: Deps,
        *,
        dry_run: bool,
        allow_admins: bool,
        accept_weak: bool,
        refused: Callable[[int, str], None],
    ) -> None:
        self._deps = deps
        self._powers = deps.settings.powers
        self._dry_run = dry_run
        self._allow_admins = allow_admins
        self._accept_weak = accept_weak
        self._refused = refused
        self._names_in_work: set[str] = set()
        self._forms = ImportedForms(deps)
        self.tally = Tally()

    async def run(self, caller: Caller, batches: AsyncIterator[Sequence[Row]], *, concurrency: int) -> Tally:
        """Import all batches. The audit trail gets one event at the start and one with the counts at the end.

        Raises StoreUnavailable if the store did not answer for too long. Users imported until then stay.
        """
        slots = asyncio.Semaphore(concurrency)
        if not self._dry_run:  # an import that is killed writes no event at its end
            await audit(self._deps, caller, Event.USERS_IMPORT_STARTED)
        try:
            async with asyncio.TaskGroup() as tasks:
                async for batch in batches:
                    await slots.acquire()
                    task = tasks.create_task(self._add(batch))
                    task.add_done_callback(lambda _: slots.release())
        except* AuthError as errors:
            raise errors.exceptions[0] from None
        finally:
            await self._audit_counts(caller)
        return self.tally

    async def _add(self, batch: Sequence[Row]) -> None:
        lines, new_users = await self._checked(batch)
        names = [new.canonical for new in new_users if new.canonical is not None]
        try:
            outcomes = await self._stored(new_users)
        finally:
            self._names_in_work.difference_update(names)
        for line, new, outcome in zip(lines, new_users, outcomes, strict=True):
            self._count(line, new, outcome)

    async def _checked(self, batch: Sequence[Row]) -> tuple[list[int], list[NewUser]]:
        """The users of a batch who may be added, and their lines. Counts the rest as refused."""
        lines, new_users = [], []
        now = self._deps.clock()
        for row in batch:
            self.tally.read += 1
            try:
                new = await self._new_user(row, now)
            except InvalidRequest as error:
                self._refuse(row.line, str(error))
                continue
            lines.append(row.line)
            new_users.append(new)
        return lines, new_users

    async def _new_user(self, row: Row, now: float) -> NewUser:
        if row.fields is None:
            raise InvalidRequest(row.problem or "nothing to read")
        imported = ImportedUser.of(row.fields, now)
        given = [role for role in imported.roles if role in self._powers.guarded]
        if given and not self._allow_admins:
            raise InvalidRequest(
                f"the role {given[0]} would give this user power over others: --allow-admins, if meant"
            )
        if imported.accepted is not None:
            if is_weak(imported.accepted.form) and not self._accept_weak:
                raise InvalidRequest(_WEAK)
            await self._forms.check(imported.accepted)
        if imported.canonical is not None:
            if imported.canonical in self._names_in_work:
                raise InvalidRequest("the same name as in another line shortly before")
            self._names_in_work.add(imported.canonical)
        user = imported.user(imported.sub or tokens.new_handle(), now)
        return NewUser(imported.canonical, user, imported.credentials(now), own_sub=imported.sub is not None)

    async def _stored(self, new_users: Sequence[NewUser]) -> list[InsertOutcome]:
        """Store the users, or look only in a dry run. Waits for a store that does not answer."""
        if not self._dry_run:  # before any user has a hash of such a form
            await _patiently(self._forms.register)
        bulk = self._deps.store.bulk
        return await _patiently(lambda: bulk.look(new_users) if self._dry_run else bulk.add(new_users))

    def _count(self, line: int, new: NewUser, outcome: InsertOutcome) -> None:
        if outcome is InsertOutcome.THERE:
            self.tally.there += 1
        elif outcome is InsertOutcome.CREATED:
            self.tally.count_created(new, self._powers)
        else:
            self._refuse(line, outcome.value)

    def _refuse(self, line: int, reason: str) -> None:
        self.tally.count_refused(line, reason)
        self._refused(line, reason)

    async def _audit_counts(self, caller: Caller) -> None:
        if self._dry_run:
            return
        # One event for all users: a million events would push everything else out of the trail.
        counts = {name: getattr(self.tally, name) for name in ("created", "there", "refused", "admins")}
        await audit(self._deps, caller, Event.USERS_IMPORTED, **counts)


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    failure = StoreUnavailable("the store does not answer")
    async for _ in until(STORE_WAIT_S, pause_s=_PAUSE_S):
        try:
            return await work()
        except (CorruptRecord, NewerFormat, FormatNotAllowed):
            raise
        except StoreUnavailable as error:
            failure = error
    raise failure
