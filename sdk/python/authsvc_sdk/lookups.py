"""Batching: concurrent questions about tokens share few requests.

A question joins only a batch that is still waiting. The answer of a batch that was sent before could be older than a
revocation which the caller has already seen acknowledged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from authsvc_sdk import clock
from authsvc_sdk.answers import Active, Inactive
from authsvc_sdk.errors import Unavailable

LookupResult = Active | Inactive | Unavailable
_MAX_BATCH = 50  # the largest answers about so many tokens fit into one response (wire.MAX_RESPONSE)
_MAX_IN_FLIGHT = 8


class Lookups:
    """Collects tokens into batches.

    fetch: asks about up to 50 tokens and returns one result each, in order. It may raise Unavailable for the whole
    batch, or return it for one token.
    patience_s: how long each caller waits.
    """

    def __init__(self, fetch: Callable[[Sequence[str]], Awaitable[list[LookupResult]]], patience_s: float) -> None:
        self._fetch = fetch
        self._patience_s = patience_s
        # Until when somebody waits for the answer about a token.
        self._waiting: dict[str, tuple[asyncio.Future[LookupResult], float]] = {}
        self._in_flight: set[asyncio.Task[None]] = set()

    async def ask(self, token: str) -> Active | Inactive:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[LookupResult] = self._waiting.get(token, (loop.create_future(),))[0]
        self._waiting[token] = future, clock.now() + self._patience_s
        loop.call_soon(self._send_batch)  # after all callers of this turn of the loop
        # Other callers may await the same future, so a cancelled caller must not cancel it.
        result = await asyncio.shield(future)
        if isinstance(result, Unavailable):
            raise result.again()
        return result

    async def aclose(self) -> None:
        for task in self._in_flight:
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)
        _resolve([future for future, _ in self._waiting.values()], Unavailable("closed"))
        self._waiting.clear()

    def _send_batch(self) -> None:
        if len(self._in_flight) < _MAX_IN_FLIGHT and (batch := self._next()):
            task = asyncio.create_task(self._fetch_batch(batch))
            self._in_flight.add(task)
            task.add_done_callback(self._batch_done)

    def _next(self) -> "dict[str, asyncio.Future[LookupResult]]":
        """Take the next batch. A question that nobody waits for is not asked.

        In an outage such questions would pile up, and hold up the others after it.
        """
        batch: dict[str, asyncio.Future[LookupResult]] = {}
        for token, (future, until) in list(self._waiting.items()):
            if len(batch) == _MAX_BATCH:
                break
            del self._waiting[token]
            if clock.now() < until:
                batch[token] = future
        return batch

    def _batch_done(self, task: "asyncio.Task[None]") -> None:
        self._in_flight.discard(task)
        if not task.cancelled():
            self._send_batch()

    async def _fetch_batch(self, batch: "dict[str, asyncio.Future[LookupResult]]") -> None:
        try:
            results = await self._fetch(list(batch))
            for future, result in zip(batch.values(), results, strict=True):
                _resolve([future], result)
        except Exception as error:  # even a fault that nobody foresaw reaches the callers, and lets nobody in
            failure = Unavailable(f"the check failed: {type(error).__name__}: {error}")
            _resolve(list(batch.values()), error if isinstance(error, Unavailable) else failure)
        finally:  # after `aclose`
            _resolve(list(batch.values()), Unavailable("the lookup was cancelled"))


def _resolve(futures: "Sequence[asyncio.Future[LookupResult]]", result: LookupResult) -> None:
    # A failure is a result too: asyncio logs an exception that no caller retrieves.
    for future in futures:
        if not future.done():
            future.set_result(result)
