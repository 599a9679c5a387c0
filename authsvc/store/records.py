"""Typed access to records of one kind: find, create, compare-and-swap, delete."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from authsvc.core.record import Record
from authsvc.driver.connection import Connection
from authsvc.driver.scripts import Change
from authsvc.errors import NotFound
from authsvc.store.encoding import Encoder, load_if, load_to_change
from authsvc.store.turns import Turns

R = TypeVar("R", bound=Record)
# The record that a step stores, or None for a deletion; and the rest of the decision.
N = TypeVar("N", bound=Record | None)
D = TypeVar("D")


class Records(Generic[R]):
    """The records of one model, each at `key(id)`."""

    def __init__(self, connection: Connection, turns: Turns, model: type[R], key: Callable[[str], str]) -> None:
        self._connection = connection
        self._turns = turns
        self._encoder = Encoder(connection)
        self._model = model
        self.key = key

    async def find(self, id_: str) -> R | None:
        return load_if(self._model, await self._connection.call("GET", self.key(id_)))

    async def find_all(self, ids: Sequence[str]) -> list[R | None]:
        raws = await self._connection.values([self.key(id_) for id_ in ids])
        return [load_if(self._model, raw) for raw in raws]

    async def get(self, id_: str) -> R:
        """Like find, but raises NotFound."""
        record = await self.find(id_)
        if record is None:
            raise NotFound(f"no such {self._model.__name__.lower()}")
        return record

    async def create(self, id_: str, record: R) -> bool:
        """Store a new record; False if there is one already."""
        return await self._connection.create(self.key(id_), await self._encoder.encode(record), record.expires_at())

    async def step(
        self, id_: str, decide: Callable[[R], tuple[N, D]], *, durable: bool = True, first: bool = False
    ) -> tuple[N, D]:
        """Replace the record by the first thing that `decide` returns, None deleting it. Returns what was decided.

        If somebody else changes the record meanwhile, `decide` is called again with the new record. If `decide` raises,
        the record stays as it is. durable: whether losing the change in a failover would do harm; losing a deletion
        always would. first: whether it goes before the changes that a user makes to the own record.
        Raises NotFound, NotDurable, TooManyChanges.
        """
        turn = self._turns.of(self.key(id_), first=first)
        return await turn.until_swapped(lambda: self._try(self.key(id_), decide, durable=durable))

    async def _try(self, key: str, decide: Callable[[R], tuple[N, D]], *, durable: bool) -> tuple[bool, tuple[N, D]]:
        """One attempt at a step. The first value is False if somebody else changed the record meanwhile."""
        raw = await self._connection.call("GET", key)
        if raw is None:
            raise NotFound(f"no such {self._model.__name__.lower()}")
        old = load_to_change(self._model, raw)
        new, decided = decide(old)
        unchanged = new is old
        # Write a durable change again although it is made already: its maker may have got NotDurable.
        if unchanged and not (durable and self._connection.waits):
            return True, (new, decided)
        if new is None:
            change = Change(key, raw, b"")
        else:
            written = raw if unchanged else await self._encoder.encode(new, instead_of=old)
            change = Change(key, raw, written, new.expires_at())
        return await self._connection.swap([change], durable=durable or new is None), (new, decided)

    async def change(self, id_: str, change: Callable[[R], R], *, durable: bool = True, first: bool = False) -> R:
        """Replace the record by what `change` makes of it, as `step` does. Returns the new record."""
        changed, _ = await self.step(id_, lambda record: (change(record), None), durable=durable, first=first)
        return changed

    async def delete(self, id_: str) -> bool:
        """Delete the record. False if there was none, or if the first of two attempts had deleted it.

        Raises NotDurable.
        """
        return bool(await self._connection.delete(self.key(id_)))

    async def ensure_absent(self, id_: str) -> None:
        """Make the absence of a record durable, before the caller of a deletion gets NotFound. Raises NotDurable."""
        await self._connection.ensure_absent(self.key(id_))

    async def get_to_delete(self, id_: str) -> R:
        """Like get, but the absence behind a NotFound is durable. Raises NotDurable."""
        try:
            return await self.get(id_)
        except NotFound:
            await self.ensure_absent(id_)
            raise
