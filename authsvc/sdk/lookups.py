"""Gathering concurrent questions into few requests.

A question joins one that waits to be sent, never one that was sent before: its answer could be older than a revocation
which the one who asks now has seen acknowledged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from authsvc.sdk.answers import Active, Inactive
from authsvc.sdk.errors import Unavailable

Outcome = Active | Inactive | Unavailable
_MAX_BATCH = 1000
_MAX_IN_FLIGHT = 8


class Lookups:
    """`fetch` answers each of up to 1,000 tokens, in order; Unavailable may be raised for all or returned for one."""

    def __init__(self, fetch: Callable[[Sequence[str]], Awaitable[list[Outcome]]]) -> None:
        self._fetch = fetch
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}
        self._flights: set[asyncio.Task[None]] = set()

    async def ask(self, token: str) -> Active | Inactive:
        future = self._waiting.get(token)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._waiting[token] = loop.create_future()
            loop.call_soon(self._launch)  # after everybody who asks in this turn of the loop
        # Shielded, so that who gives up does so for itself alone.
        outcome = await asyncio.shield(future)
        if isinstance(outcome, Unavailable):
            raise outcome.again()
        return outcome

    async def aclose(self) -> None:
        for flight in self._flights:
            flight.cancel()
        await asyncio.gather(*self._flights, return_exceptions=True)
        _settle(list(self._waiting.values()), Unavailable("closed"))
        self._waiting.clear()

    def _launch(self) -> None:
        if not self._waiting or len(self._flights) >= _MAX_IN_FLIGHT:
            return
        batch = dict(list(self._waiting.items())[:_MAX_BATCH])
        for token in batch:
            del self._waiting[token]
        flight = asyncio.create_task(self._fly(batch))
        self._flights.add(flight)
        flight.add_done_callback(self._landed)

    def _landed(self, flight: "asyncio.Task[None]") -> None:
        self._flights.discard(flight)
        if not flight.cancelled():
            self._launch()

    async def _fly(self, batch: "dict[str, asyncio.Future[Outcome]]") -> None:
        try:
            outcomes = await self._fetch(list(batch))
            for future, outcome in zip(batch.values(), outcomes, strict=True):
                _settle([future], outcome)
        except Unavailable as error:
            _settle(list(batch.values()), error)
        finally:  # closed, or a fault of ours: nobody waits for ever, and nobody is let in
            _settle(list(batch.values()), Unavailable("the question was given up"))


def _settle(futures: "Sequence[asyncio.Future[Outcome]]", outcome: Outcome) -> None:
    # A result even for a failure: an exception that nobody fetches would be logged.
    for future in futures:
        if not future.done():
            future.set_result(outcome)
