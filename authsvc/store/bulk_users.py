"""Storing many users at once, each with credentials, in four round trips for some hundreds of users.

`Users.register` takes four round trips for one user: it writes the records first, to expire within seconds, and then
takes the name. A batch takes the names first. An entry of the name index counts only if its user has that name. An
entry that a crash left behind therefore lets nobody log in, and the next user of that name takes it over. Then the
batch writes the records of each user, both or neither, and never over existing records.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from authsvc.core.user import Credentials, User
from authsvc.driver.connection import Connection
from authsvc.driver.scripts import Change
from authsvc.store import keys
from authsvc.store.directory import entering
from authsvc.store.encoding import Encoder, load, load_if


class InsertOutcome(Enum):
    """The result for one user. THERE: the same user exists already, for example after an import that broke off."""

    CREATED = "created"
    THERE = "there"
    NAME_TAKEN = "the name is taken by another user, or by this one with other data"
    SUB_TAKEN = "the sub is another user's"


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to store. canonical: the name in the form of the index; None for a user without a name.

    own_sub: whether the import file gives the sub. A sub that this service made up does not identify the user.
    """

    canonical: str | None
    user: User
    credentials: Credentials
    own_sub: bool

    def is_like(self, user: User, credentials: Credentials | None) -> bool:
        """Whether the stored user is this one, whose imported hash a login may have replaced since."""
        mine, theirs = self.credentials.hash, credentials.hash if credentials else None
        return (
            (user.username, user.status, user.roles, user.claims)
            == (self.user.username, self.user.status, self.user.roles, self.user.claims)
            and (not self.own_sub or user.sub == self.user.sub)
            and (mine == theirs or (mine is not None and theirs is not None and theirs.startswith("$argon2id")))
        )


class BulkInsert:
    """Stores batches of users. Repeating a failed batch with the same subs completes it, and stores no user twice."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._encoder = Encoder(connection)

    async def add(self, new_users: Sequence[NewUser]) -> list[InsertOutcome]:
        """Store the users whose names are free. The names in a batch must differ. Raises StoreUnavailable."""
        outcomes: dict[int, InsertOutcome] = {}
        holders = await self._take_names(new_users)
        outcomes |= await self._compare_with_holders(new_users, holders, take=True)
        outcomes |= await self._store(new_users, [at for at in range(len(new_users)) if at not in outcomes])
        created = [
            at for at, outcome in outcomes.items() if outcome is InsertOutcome.CREATED and new_users[at].canonical
        ]
        outcomes |= await self._withdraw_losers(new_users, created)
        entered = [new_users[at].user for at, outcome in outcomes.items() if outcome is InsertOutcome.CREATED]
        await self._connection.batch(entering(entered))
        return [outcomes[at] for at in range(len(new_users))]

    async def look(self, new_users: Sequence[NewUser]) -> list[InsertOutcome]:
        """Return what `add` would return now, without a change."""
        named = [at for at, new in enumerate(new_users) if new.canonical is not None]
        held = await self._connection.batch([("GET", keys.login(new_users[at].canonical or "")) for at in named])
        holders = {at: sub for at, sub in zip(named, held, strict=True) if sub is not None}
        outcomes = await self._compare_with_holders(new_users, holders, take=False)
        outcomes |= await self._compare(new_users, [at for at in range(len(new_users)) if at not in outcomes])
        return [outcomes.get(at, InsertOutcome.CREATED) for at in range(len(new_users))]

    async def _take_names(self, new_users: Sequence[NewUser]) -> dict[int, bytes]:
        """Take the names. Returns the index entries of those names that another user holds."""
        named = [at for at, new in enumerate(new_users) if new.canonical is not None]
        commands = [
            ("SET", keys.login(new_users[at].canonical or ""), new_users[at].user.sub, "NX", "GET") for at in named
        ]
        held = await self._connection.batch(commands)
        return {
            at: sub
            for at, sub in zip(named, held, strict=True)
            if sub is not None and keys.named_by(sub) != new_users[at].user.sub
        }

    async def _compare_with_holders(
        self, new_users: Sequence[NewUser], holders: dict[int, bytes], *, take: bool
    ) -> dict[int, InsertOutcome]:
        """The results for users whose names others really have. take: replace the stale entries by ours."""
        outcomes: dict[int, InsertOutcome] = {}
        found = await self._connection.batch([_both(keys.named_by(sub)) for sub in holders.values()])
        for (at, sub), (user, credentials) in zip(holders.items(), found, strict=True):
            new = new_users[at]
            name = new.canonical or ""
            if user is not None and (there := load(User, user)).answers_to(name):
                like = new.is_like(there, load_if(Credentials, credentials))
                outcomes[at] = InsertOutcome.THERE if like else InsertOutcome.NAME_TAKEN
            elif take and not await self._connection.swap(
                [Change(keys.login(name), sub, new.user.sub.encode())], durable=False
            ):
                outcomes[at] = InsertOutcome.NAME_TAKEN
        return outcomes

    async def _store(self, new_users: Sequence[NewUser], wanted: Sequence[int]) -> dict[int, InsertOutcome]:
        written = await self._connection.batch([await self._write(new_users[at]) for at in wanted])
        refused = [at for at, new in zip(wanted, written, strict=True) if not new]
        outcomes = dict.fromkeys(wanted, InsertOutcome.CREATED) | await self._compare(new_users, refused)
        for at in refused:
            name = new_users[at].canonical
            if outcomes[at] is InsertOutcome.SUB_TAKEN and name is not None:  # give the name back, for nobody has it
                await self._connection.swap(
                    [Change(keys.login(name), new_users[at].user.sub.encode(), b"")], durable=False
                )
        return outcomes

    async def _compare(self, new_users: Sequence[NewUser], wanted: Sequence[int]) -> dict[int, InsertOutcome]:
        """The results for users whose subs are taken already. The other users are not in the answer."""
        outcomes: dict[int, InsertOutcome] = {}
        found = await self._connection.batch([_both(new_users[at].user.sub) for at in wanted])
        for at, (user, credentials) in zip(wanted, found, strict=True):
            if user is None:
                continue
            new, there = new_users[at], load(User, user)
            if not new.own_sub:  # we made the sub up, so an earlier attempt stored the user, and its reply got lost
                outcomes[at] = InsertOutcome.CREATED
            elif new.is_like(there, load_if(Credentials, credentials)):
                outcomes[at] = InsertOutcome.THERE
            elif new.canonical is not None and there.answers_to(new.canonical):
                outcomes[at] = InsertOutcome.NAME_TAKEN
            else:
                outcomes[at] = InsertOutcome.SUB_TAKEN
        return outcomes

    async def _withdraw_losers(self, new_users: Sequence[NewUser], created: Sequence[int]) -> dict[int, InsertOutcome]:
        """Delete the users whose names others took over: until the records were written, the entries had no user."""
        held = await self._connection.batch([("GET", keys.login(new_users[at].canonical or "")) for at in created])
        outcomes: dict[int, InsertOutcome] = {}
        for at, sub in zip(created, held, strict=True):
            user = new_users[at].user
            if sub is None or keys.named_by(sub) != user.sub:
                await self._connection.call("DEL", keys.user(user.sub), keys.credentials(user.sub))
                outcomes[at] = InsertOutcome.NAME_TAKEN
        return outcomes

    async def _write(self, new: NewUser) -> tuple[str | bytes, ...]:
        sub = new.user.sub
        user, credentials = [await self._encoder.encode(record) for record in (new.user, new.credentials)]
        return ("MSETNX", keys.user(sub), user, keys.credentials(sub), credentials)


def _both(sub: str) -> tuple[str, str, str]:
    return ("MGET", keys.user(sub), keys.credentials(sub))
