"""Taking in many users at once, who bring their credentials along: three round trips for some hundreds of them.

`Users.register` writes the records first, with a life of seconds, and then takes the name, which is one user's worth of
four round trips. Here the name is taken first: an entry of the index counts only if the user it names answers to it, so
what a crash leaves behind opens nothing, blocks nobody, and is taken over by whoever comes next. The records follow,
both or neither, and never over others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from authsvc.core.user import Credentials, User
from authsvc.driver.connection import Connection
from authsvc.driver.scripts import Change
from authsvc.store import keys
from authsvc.store.encoding import Encoder, load, load_if


class Outcome(Enum):
    """What became of one. THERE: the very same user was there already, as after an import that broke off."""

    CREATED = "created"
    THERE = "there"
    NAME_TAKEN = "the name is taken by another user, or by this one with other data"
    SUB_TAKEN = "the sub is another user's"


@dataclass(frozen=True, slots=True)
class NewUser:
    """One who is to be a user. canonical: the name as the index has it, None for who has none.

    own_sub: whether the sub was brought along; else it is made up, and says nothing about who this is.
    """

    canonical: str | None
    user: User
    credentials: Credentials
    own_sub: bool

    def is_like(self, user: User, credentials: Credentials | None) -> bool:
        """Whether this is who is there; he may have logged in since, which renews the hash."""
        mine, theirs = self.credentials.hash, credentials.hash if credentials else None
        return (
            (user.username, user.status, user.roles, user.claims)
            == (self.user.username, self.user.status, self.user.roles, self.user.claims)
            and (not self.own_sub or user.sub == self.user.sub)
            and (mine == theirs or (mine is not None and theirs is not None and theirs.startswith("$argon2id")))
        )


class BulkInsert:
    """Repeating a batch with the same subs, after a failure anywhere in it, completes it and doubles nobody."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._encoder = Encoder(connection)

    async def add(self, arrivals: Sequence[NewUser]) -> list[Outcome]:
        """Store those whose name is free. No two of a batch may have the same name. Raises StoreUnavailable."""
        outcomes: dict[int, Outcome] = {}
        holders = await self._take_names(arrivals)
        outcomes |= await self._look_at_holders(arrivals, holders, take=True)
        outcomes |= await self._store(arrivals, [at for at in range(len(arrivals)) if at not in outcomes])
        created = [at for at, outcome in outcomes.items() if outcome is Outcome.CREATED and arrivals[at].canonical]
        outcomes |= await self._withdraw_losers(arrivals, created)
        return [outcomes[at] for at in range(len(arrivals))]

    async def look(self, arrivals: Sequence[NewUser]) -> list[Outcome]:
        """What `add` would say now, changing nothing."""
        named = [at for at, arrival in enumerate(arrivals) if arrival.canonical is not None]
        held = await self._connection.batch([("GET", keys.login(arrivals[at].canonical or "")) for at in named])
        holders = {at: sub for at, sub in zip(named, held, strict=True) if sub is not None}
        outcomes = await self._look_at_holders(arrivals, holders, take=False)
        outcomes |= await self._compare(arrivals, [at for at in range(len(arrivals)) if at not in outcomes])
        return [outcomes.get(at, Outcome.CREATED) for at in range(len(arrivals))]

    async def _take_names(self, arrivals: Sequence[NewUser]) -> dict[int, bytes]:
        """Take the names; whose was held by somebody else, and by whom."""
        named = [at for at, arrival in enumerate(arrivals) if arrival.canonical is not None]
        commands = [
            ("SET", keys.login(arrivals[at].canonical or ""), arrivals[at].user.sub, "NX", "GET") for at in named
        ]
        held = await self._connection.batch(commands)
        return {
            at: sub
            for at, sub in zip(named, held, strict=True)
            if sub is not None and keys.named_by(sub) != arrivals[at].user.sub
        }

    async def _look_at_holders(
        self, arrivals: Sequence[NewUser], holders: dict[int, bytes], *, take: bool
    ) -> dict[int, Outcome]:
        """Whose names are really somebody's. take: make the other entries, which are stale, ours."""
        outcomes: dict[int, Outcome] = {}
        found = await self._connection.batch([_both(keys.named_by(sub)) for sub in holders.values()])
        for (at, sub), (user, credentials) in zip(holders.items(), found, strict=True):
            arrival = arrivals[at]
            name = arrival.canonical or ""
            if user is not None and (there := load(User, user)).answers_to(name):
                like = arrival.is_like(there, load_if(Credentials, credentials))
                outcomes[at] = Outcome.THERE if like else Outcome.NAME_TAKEN
            elif take and not await self._connection.swap(
                [Change(keys.login(name), sub, arrival.user.sub.encode())], durable=False
            ):
                outcomes[at] = Outcome.NAME_TAKEN
        return outcomes

    async def _store(self, arrivals: Sequence[NewUser], wanted: Sequence[int]) -> dict[int, Outcome]:
        written = await self._connection.batch([await self._write(arrivals[at]) for at in wanted])
        refused = [at for at, new in zip(wanted, written, strict=True) if not new]
        outcomes = dict.fromkeys(wanted, Outcome.CREATED) | await self._compare(arrivals, refused)
        for at in refused:
            name = arrivals[at].canonical
            if outcomes[at] is Outcome.SUB_TAKEN and name is not None:  # and the name is nobody's then
                await self._connection.swap(
                    [Change(keys.login(name), arrivals[at].user.sub.encode(), b"")], durable=False
                )
        return outcomes

    async def _compare(self, arrivals: Sequence[NewUser], wanted: Sequence[int]) -> dict[int, Outcome]:
        """Who is there under the subs of these, for those under whose there is somebody."""
        outcomes: dict[int, Outcome] = {}
        found = await self._connection.batch([_both(arrivals[at].user.sub) for at in wanted])
        for at, (user, credentials) in zip(wanted, found, strict=True):
            if user is None:
                continue
            arrival, there = arrivals[at], load(User, user)
            if not arrival.own_sub:  # made up by us: it was stored by an attempt whose reply got lost
                outcomes[at] = Outcome.CREATED
            elif arrival.is_like(there, load_if(Credentials, credentials)):
                outcomes[at] = Outcome.THERE
            elif arrival.canonical is not None and there.answers_to(arrival.canonical):
                outcomes[at] = Outcome.NAME_TAKEN
            else:
                outcomes[at] = Outcome.SUB_TAKEN
        return outcomes

    async def _withdraw_losers(self, arrivals: Sequence[NewUser], created: Sequence[int]) -> dict[int, Outcome]:
        """Delete those whose name was taken over before they were stored: it was an entry without a user then."""
        held = await self._connection.batch([("GET", keys.login(arrivals[at].canonical or "")) for at in created])
        outcomes: dict[int, Outcome] = {}
        for at, sub in zip(created, held, strict=True):
            user = arrivals[at].user
            if sub is None or keys.named_by(sub) != user.sub:
                await self._connection.call("DEL", keys.user(user.sub), keys.credentials(user.sub))
                outcomes[at] = Outcome.NAME_TAKEN
        return outcomes

    async def _write(self, arrival: NewUser) -> tuple[str | bytes, ...]:
        sub = arrival.user.sub
        user, credentials = [await self._encoder.encode(record) for record in (arrival.user, arrival.credentials)]
        return ("MSETNX", keys.user(sub), user, keys.credentials(sub), credentials)


def _both(sub: str) -> tuple[str, str, str]:
    return ("MGET", keys.user(sub), keys.credentials(sub))
