"""Counting attempts at a secret, before the secret is looked at.

This is no job for a limiter library, because those count requests in windows. Here an attempt is reserved before the
check and given back after a right secret, the wait doubles, and compare-and-swap keeps the count exact.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from authsvc.core.known_networks import KnownNetworks, network_digest
from authsvc.core.throttle import Attempts, Limit
from authsvc.driver.connection import Connection
from authsvc.driver.scripts import Change, swap_command
from authsvc.errors import Overloaded, StoreUnavailable, TooManyAttempts
from authsvc.store import keys
from authsvc.store.encoding import Encoder, load, load_to_change
from authsvc.store.turns import Turn, Turns

# How long an attempt that waits for the results of others waits before it looks again.
LOOK_AGAIN_S = 0.02


@dataclass(frozen=True, slots=True)
class Window:
    """One limit applied to one thing, such as an address.

    known: the window counts only attempts from a known network of the account, or only others. None: all attempts.
    """

    limit: Limit
    of: str
    known: bool | None = None

    @property
    def key(self) -> str:
        return keys.throttle(self.limit.name, self.of)

    def applies(self, *, known: bool) -> bool:
        return self.known is None or self.known == known


@dataclass(frozen=True, slots=True)
class Place:
    """An account, and the network from which somebody tries to log in to it."""

    account: str
    network: str

    @property
    def key(self) -> str:
        return keys.throttle("networks", self.account)

    @property
    def digest(self) -> str:
        return network_digest(self.account, self.network)


@dataclass(slots=True)
class Reservation:
    """A counted attempt: its windows, and the value written to each. Mostly a window still has that value at the end.

    known: the networks of the account, as they were read with the windows.
    """

    now: float
    place: Place | None = None
    counted: dict[Window, bytes] = field(default_factory=dict)
    known: bytes | None = None


class Throttle:
    """Attempt windows. They fail closed: without the store nothing is counted, and nobody logs in."""

    def __init__(self, connection: Connection, turns: Turns) -> None:
        self._connection = connection
        self._turns = turns
        self._within_s = connection.timeouts.attempt_s
        self._encoder = Encoder(connection)

    async def reserve(self, windows: Sequence[Window], now: float, place: Place | None = None) -> Reservation:
        """Count an attempt in all windows. Raises TooManyAttempts, counting nothing, if any of them is full.

        A window may be full of attempts that are still being checked. Then this waits, because right ones make room.
        place: decides which windows apply. The known networks are read together with the windows.
        """
        reservation = Reservation(now, place)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._within_s
        while True:
            # A new turn for each look: an attempt that waits for results goes behind those that came meanwhile.
            todo = [window for window in windows if window not in reservation.counted]
            async with self._turn(todo, max(give_up_at - loop.time(), 0)):
                found = await self._read_for(reservation, todo)
                if not found:
                    return reservation
                held = {w: Attempts() if raw is None else load_to_change(Attempts, raw) for w, raw in found.items()}
                full = {window: attempts for window, attempts in held.items() if attempts.wait_s(window.limit, now) > 0}
                if not full:
                    counts = {window: attempts.counted(window.limit, now) for window, attempts in held.items()}
                    reservation.counted |= await self._swap(found, counts)
                    continue
            if loop.time() >= give_up_at or not all(a.undecided(w.limit, now) for w, a in full.items()):
                await self.settle(reservation, right=None)
                raise self._too_many(full, now)
            await asyncio.sleep(LOOK_AGAIN_S)

    def _turn(self, windows: Iterable[Window], within_s: float, *, first: bool = False) -> Turn:
        return self._turns.of(*(window.key for window in windows), within_s=within_s, first=first, limited=False)

    def _too_many(self, full: Mapping[Window, Attempts], now: float) -> TooManyAttempts:
        for window in full:
            self._connection.metrics.throttled.add(window.limit.name)
        return TooManyAttempts(math.ceil(max(attempts.wait_s(window.limit, now) for window, attempts in full.items())))

    async def _read_for(self, reservation: Reservation, todo: Sequence[Window]) -> dict[Window, bytes | None]:
        """Those of the windows that apply, with their values."""
        if reservation.place is None:
            return await self._read(todo)
        # Once the windows are chosen, a network that becomes known meanwhile changes nothing.
        if reservation.counted:
            todo = [window for window in todo if window.applies(known=self._known(reservation))]
            return await self._read(todo)
        commands = [("GET", key) for key in (*(window.key for window in todo), reservation.place.key)]
        *raws, reservation.known = await self._connection.batch(commands)
        known = self._known(reservation)
        return {w: raw for w, raw in zip(todo, raws, strict=True) if w.applies(known=known)}

    @staticmethod
    def _known(reservation: Reservation) -> bool:
        known, place = reservation.known, reservation.place
        return place is not None and known is not None and load(KnownNetworks, known).has(place.digest, reservation.now)

    @asynccontextmanager
    async def release_on_failure(self, reservation: Reservation) -> AsyncIterator[None]:
        """Give a reserved attempt back if the secret could not be checked: that was neither a guess nor a proof."""
        try:
            yield
        except (Overloaded, StoreUnavailable):
            with suppress(StoreUnavailable):
                await self.settle(reservation, right=None)
            raise

    async def settle(self, reservation: Reservation, *, right: bool | None) -> None:
        """Record the result of a reserved attempt. None: the secret was not checked.

        A right secret makes the network known, from which it came.
        """
        found: dict[Window, bytes | None] = dict(reservation.counted)
        turn = self._turn(found, self._within_s, first=True)  # first, because other attempts wait for the result
        while found:
            async with turn:
                held = {window: raw for window, raw in found.items() if raw is not None}  # the rest has expired
                judged = {w: load_to_change(Attempts, raw).judged(w.limit, right=right) for w, raw in held.items()}
                settled = await self._swap(held, judged)
                found = await self._read([window for window in held if window not in settled])
        if right and reservation.place is not None:
            await self._note(reservation.place, reservation.known, reservation.now)

    async def note(self, place: Place, now: float) -> None:
        """Make a network known, because the owner of the account has proved a secret there."""
        await self._note(place, await self._connection.call("GET", place.key), now)

    async def _note(self, place: Place, raw: bytes | None, now: float) -> None:
        turn = self._turns.of(place.key, within_s=self._within_s, limited=False)
        while True:
            held = KnownNetworks() if raw is None else load_to_change(KnownNetworks, raw)
            if not held.due(place.digest, now):
                return
            noted = held.with_login(place.digest, now)
            change = Change(place.key, raw or b"", await self._encoder.encode(noted), noted.expires_at())
            async with turn:
                if await self._connection.call(*swap_command([change])):
                    return
                raw = await self._connection.call("GET", place.key)

    def locks_until(self, reservation: Reservation, names: Collection[str]) -> int | None:
        """When the locks end that this attempt, being wrong, has brought. names: of the limits that count as locks."""
        now = reservation.now
        counted = [(w.limit, load(Attempts, raw)) for w, raw in reservation.counted.items() if w.limit.name in names]
        waits = [attempts.wait_s(limit, now) for limit, attempts in counted]
        return int(now) + math.ceil(max(waits)) if any(waits) else None

    async def waits(self, windows: Sequence[Window], now: float) -> list[float]:
        """How many seconds the next attempt in each window has to wait; 0 is not at all."""
        raws = await self._connection.values([window.key for window in windows])
        return [
            0 if raw is None else load(Attempts, raw).wait_s(window.limit, now)
            for window, raw in zip(windows, raws, strict=True)
        ]

    async def clear(self, kept: Sequence[Window | Place]) -> None:
        """Forget counted attempts, or the known networks of an account."""
        await self._connection.batch([("DEL", of.key) for of in kept])

    async def _read(self, windows: Sequence[Window]) -> dict[Window, bytes | None]:
        raws = await self._connection.batch([("GET", window.key) for window in windows]) if windows else []
        return dict(zip(windows, raws, strict=True))

    async def _swap(self, old: Mapping[Window, bytes | None], new: Mapping[Window, Attempts]) -> dict[Window, bytes]:
        """Write the new counts. Returns the written ones; another attempt changed the other windows meanwhile."""
        written = {window: await self._encoder.encode(attempts) for window, attempts in new.items()}
        commands = [
            swap_command([Change(window.key, old[window] or b"", value, new[window].expires_at())])
            for window, value in written.items()
        ]
        done = await self._connection.batch(commands)
        return {window: value for (window, value), applied in zip(written.items(), done, strict=True) if applied}
