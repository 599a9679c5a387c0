"""Finding users for admins: by the beginning of a name or sub, by status, role, lock, and by the lack of a factor."""

import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from authsvc.core.user import ADMIN_ROLE, Status, User
from authsvc.core.username import prefix
from authsvc.flows.attempts import lock_windows
from authsvc.flows.deps import Deps
from authsvc.store.directory import BY_SUB, KINDS, NAMED, NAMELESS, SUSPENDED, Span, canonical, entries_of, sub_in

# How many entries one page looks at, and how many at a time.
MOST_LOOKED_AT = 5000
_STEP = 1000
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_COUNT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Asked:
    """Which users are asked for. q: the beginning of a name or sub. None: whichever."""

    q: str | None = None
    status: Status | None = None
    role: str | None = None
    locked: bool = False
    without_factor: bool = False

    def fits(self, user: User) -> bool:
        """Whether the record of a user has this status, role and beginning."""
        beginning = None if self.q is None else prefix(self.q)
        return (
            self.status in (None, user.status)
            and (self.role is None or self.role in user.roles)
            and (
                beginning is None or (canonical(user) or "").startswith(beginning) or user.sub.startswith(self.q or "")
            )
        )


class UserState(NamedTuple):
    """A user, with the last login and the lock. Times are epoch seconds.

    last_login_at: when the newest session began; None: never, or long ago. locked_until: None if nothing locks it.
    """

    user: User
    last_login_at: int | None = None
    locked_until: int | None = None


class UserPage(NamedTuple):
    """Users by name, and the cursor of the next page. A page may be short, or empty, before the end.

    complete: whether the index lists every user; False while it is filled after an upgrade.
    """

    users: list[UserState]
    next: str | None
    complete: bool


class _Found(NamedTuple):
    """A user at an entry of an index. position: where a page goes on behind this entry."""

    user: User | None
    position: str


async def page(deps: Deps, asked: Asked, *, cursor: str | None = None, limit: int = 100) -> UserPage:
    """One page of the users that are asked for. Looks at MOST_LOOKED_AT entries at most."""
    found: list[User] = []
    position: str | None = None
    looked_at = 0
    candidates = _candidates(deps, asked, cursor, _STEP if _picks(asked) else limit)
    async for one in _without_factor(deps, candidates) if asked.without_factor else candidates:
        if len(found) == limit or looked_at == MOST_LOOKED_AT:
            break
        looked_at += 1
        position = one.position
        if one.user is not None and asked.fits(one.user):
            found.append(one.user)
    else:
        position = None
    complete = await deps.store.indexes.filled_at() is not None
    return UserPage(await states(deps, found), position and _cursor(position), complete)


async def states(deps: Deps, users: Sequence[User]) -> list[UserState]:
    """These users, with their last logins and locks."""
    now = deps.clock()
    last = await deps.store.sessions.last_logins([user.sub for user in users])
    of_each = [lock_windows(deps.settings, canonical(user), user.sub) for user in users]
    waits = iter(await deps.store.throttle.waits([window for windows in of_each for window in windows], now))
    longest = [max(next(waits) for _ in windows) for windows in of_each]
    locked = [int(now) + math.ceil(wait) if wait else None for wait in longest]
    return [UserState(*one) for one in zip(users, last, locked, strict=True)]


async def state(deps: Deps, user: User) -> UserState:
    """A user, with the last login and the lock."""
    return (await states(deps, [user]))[0]


def is_cursor(text: str) -> bool:
    """Whether this service can have named the cursor."""
    position = _position(text)
    return position is not None and (position[:1] in KINDS or _COUNT.fullmatch(position) is not None)


def _picks(asked: Asked) -> bool:
    """Whether entries are read of which few may fit."""
    by_status = asked.status is not None and (asked.status != "suspended" or asked.q is not None)
    return asked.role is not None or asked.without_factor or by_status


async def _candidates(deps: Deps, asked: Asked, cursor: str | None, step: int) -> AsyncIterator[_Found]:
    """The users among whom those are that are asked for, from the best index for it."""
    position = None if cursor is None else _position(cursor)
    skip = int(position) if position is not None and _COUNT.fullmatch(position) else 0
    if asked.locked:
        by_entry = _locked(deps, skip, step)
    elif asked.role == ADMIN_ROLE:
        by_entry = _admins(deps, skip)
    else:
        by_entry = _by_name(deps, asked, position, step)
    async for one in by_entry:
        yield one


async def _without_factor(deps: Deps, candidates: AsyncIterator[_Found]) -> AsyncIterator[_Found]:
    """The same entries. The users who have a second factor are left out. Reads the factors of many users at a time."""
    batch: list[_Found] = []
    async for one in candidates:
        batch.append(one)
        if len(batch) == _STEP:
            for kept in await _leave_out(deps, batch):
                yield kept
            batch = []
    for kept in await _leave_out(deps, batch):
        yield kept


async def _leave_out(deps: Deps, batch: Sequence[_Found]) -> list[_Found]:
    users = [one.user.sub for one in batch if one.user is not None]
    held = dict(zip(users, await deps.store.factors.find_all(users), strict=True))
    protected = {sub for sub, factors in held.items() if factors is not None and factors.active}
    return [one._replace(user=None) if one.user and one.user.sub in protected else one for one in batch]


async def _locked(deps: Deps, skip: int, step: int) -> AsyncIterator[_Found]:
    while subs := await deps.store.locked.read(deps.clock(), skip=skip, limit=step):
        users = [user for user in await deps.store.users.find_all(subs) if user is not None]
        of_sub = {one.user.sub: one.user for one in await states(deps, users) if one.locked_until is not None}
        for at, sub in enumerate(subs, skip + 1):
            yield _Found(of_sub.get(sub), str(at))
        skip += len(subs)


async def _admins(deps: Deps, skip: int) -> AsyncIterator[_Found]:
    at = 0
    async for admins in deps.store.admins.pages():
        for admin in admins:
            at += 1
            if at > skip:
                yield _Found(admin if isinstance(admin, User) else None, str(at))


async def _by_name(deps: Deps, asked: Asked, position: str | None, step: int) -> AsyncIterator[_Found]:
    for span in _spans(asked, position):
        while entries := await deps.store.directory.read(span, step):
            users = await deps.store.users.find_all([sub_in(entry) for entry in entries])
            for entry, user in zip(entries, users, strict=True):
                fits = user is not None and entry in entries_of(user) and not _is_repeated(span, asked, user)
                yield _Found(user if fits else None, entry)
            if len(entries) < step:
                break
            span = span._replace(after=entries[-1])


def _is_repeated(span: Span, asked: Asked, user: User) -> bool:
    """Whether the user was found by the name already."""
    return span.kind == BY_SUB and (canonical(user) or "").startswith(prefix(asked.q or ""))


def _spans(asked: Asked, position: str | None) -> list[Span]:
    """The parts of the index of users to read, those before the position left out."""
    beginning = "" if asked.q is None else prefix(asked.q)
    if asked.status == "suspended" and asked.q is None:
        spans = [Span(SUSPENDED)]
    elif asked.q is None:
        spans = [Span(NAMED), Span(NAMELESS)]
    else:
        spans = [Span(NAMED, beginning), Span(NAMELESS, asked.q), Span(BY_SUB, asked.q)]
    if position is None:
        return spans
    left = [span for span in spans if span.kind >= position[:1]]
    return [span._replace(after=position) if span.kind == position[:1] else span for span in left]


def _cursor(position: str) -> str:
    return urlsafe_b64encode(position.encode()).decode().rstrip("=")


def _position(cursor: str) -> str | None:
    if not _BASE64URL.fullmatch(cursor):
        return None
    try:
        return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:
        return None
