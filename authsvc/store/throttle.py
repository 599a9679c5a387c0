"""Counting attempts at a secret, before the secret is looked at.

This is no job for a limiter library, because those count requests in windows. Here an attempt is reserved before the
check and given back after a right secret, the wait doubles, and compare-and-swap keeps the count exact.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from authsvc.core.throttle import Attempts, Limit
from authsvc.driver.connection import Connection
from authsvc.driver.scripts import Change, swap_command
from authsvc.errors import Overloaded, StoreUnavailable, TooManyAttempts
from authsvc.store import keys
from authsvc.store.encoding import Encoder, load_to_change
from authsvc.store.turns import Turn, Turns

# How long an attempt waits for its turn and for the results of others: a full queue of hashes takes that long.
WAIT_S = 1.2
# How long it waits before it looks again.
LOOK_AGAIN_S = 0.02


@dataclass(frozen=True, slots=True)
class Window:
    """One limit applied to one thing, such as an address."""

    limit: Limit
    of: str

    @property
    def key(self) -> str:
        return keys.throttle(self.limit.name, self.of)


# A counted attempt: its windows, and the value written to each. Mostly the window still has that value at the end.
Reservation = dict[Window, bytes]


class Throttle:
    """Attempt windows. They fail closed: without the store nothing is counted, and nobody logs in."""

    def __init__(self, connection: Connection, turns: Turns) -> None:
        self._connection = connection
        self._turns = turns
        self._encoder = Encoder(connection)

    async def reserve(self, windows: Sequence[Window], now: float) -> Reservation:
        """Count an attempt in all windows. Raises TooManyAttempts, counting nothing, if any of them is full.

        A window may be full of attempts that are still being checked. Then this waits, because right ones make room.
        """
        counted: Reservation = {}
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + WAIT_S
        while todo := [window for window in windows if window not in counted]:
            # A new turn for each look: an attempt that waits for results goes behind those that came meanwhile.
            async with self._turn(todo, max(give_up_at - loop.time(), 0)):
                raws = await self._read(todo)
                held = [Attempts() if raw is None else load_to_change(Attempts, raw) for raw in raws]
                full = [(w, a) for w, a in zip(todo, held, strict=True) if a.wait_s(w.limit, now) > 0]
                if not full:
                    news = [a.counted(w.limit, now) for w, a in zip(todo, held, strict=True)]
                    counted |= await self._swap(todo, raws, news)
                    continue
            if loop.time() >= give_up_at or not all(attempts.undecided(w.limit, now) for w, attempts in full):
                await self.settle(counted, right=None)
                for window, _ in full:
                    self._connection.metrics.throttled.add(window.limit.name)
                raise TooManyAttempts(math.ceil(max(attempts.wait_s(window.limit, now) for window, attempts in full)))
            await asyncio.sleep(LOOK_AGAIN_S)
        return counted

    def _turn(self, windows: Sequence[Window], within_s: float, *, first: bool = False) -> Turn:
        return self._turns.of(*(window.key for window in windows), within_s=within_s, first=first, limited=False)

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
        """Record the result of a reserved attempt. None: the secret was not checked."""
        todo = list(reservation)
        raws: list[bytes | None] = list(reservation.values())
        turn = self._turn(todo, WAIT_S, first=True)  # first, because other attempts wait for the result
        while todo:
            async with turn:
                held = [(w, raw) for w, raw in zip(todo, raws, strict=True) if raw is not None]  # the rest has expired
                judged = [load_to_change(Attempts, raw).judged(window.limit, right=right) for window, raw in held]
                settled = await self._swap([window for window, _ in held], [raw for _, raw in held], judged)
                todo = [window for window, _ in held if window not in settled]
                raws = await self._read(todo)

    async def clear(self, windows: Sequence[Window]) -> None:
        """Forget the counted attempts: somebody proved the secret, or there is a new one."""
        await self._connection.batch([("DEL", window.key) for window in windows])

    async def _read(self, windows: Sequence[Window]) -> list[bytes | None]:
        return await self._connection.batch([("GET", window.key) for window in windows])

    async def _swap(
        self, windows: Sequence[Window], old: Sequence[bytes | None], new: Sequence[Attempts]
    ) -> Reservation:
        """Write the new counts. Returns the written ones; another attempt changed the other windows meanwhile."""
        written = [await self._encoder.encode(attempts) for attempts in new]
        changes = [
            Change(window.key, raw or b"", value, attempts.expires_at())
            for window, raw, attempts, value in zip(windows, old, new, written, strict=True)
        ]
        done = await self._connection.batch([swap_command([change]) for change in changes])
        return {window: value for window, value, applied in zip(windows, written, done, strict=True) if applied}
