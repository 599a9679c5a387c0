"""Hands the rows of a file to the event loop in batches, read on a thread."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from itertools import islice

from authsvc.flows.import_users import Row

BATCH = 250
_AHEAD = 2

_Batch = Sequence[Row] | Exception


async def batches(source: Iterator[Row], shown: Callable[[], None]) -> AsyncIterator[Sequence[Row]]:
    """The rows, some hundreds at a time; `shown` is called after each batch. Raises what reading raises.

    A thread reads, so that a slow file or pipe does not hold up the replies of the store.
    """
    loop = asyncio.get_running_loop()
    ready: asyncio.Queue[_Batch] = asyncio.Queue(_AHEAD)

    def put(batch: _Batch) -> bool:
        """Wait for room in the queue. Returns False if the import has ended, and its loop with it."""
        putting = ready.put(batch)
        try:
            asyncio.run_coroutine_threadsafe(putting, loop).result()
        except (RuntimeError, CancelledError):
            putting.close()
            return False
        return True

    def read() -> None:
        try:
            while batch := list(islice(source, BATCH)):
                if not put(batch):
                    return
            put([])
        except Exception as error:  # raised again on the loop
            put(error)

    # A daemon of our own: the loop waits at its end for its own threads, and this one may wait for a pipe for ever.
    threading.Thread(target=read, name="reader", daemon=True).start()
    while batch := await ready.get():
        if isinstance(batch, Exception):
            raise batch
        yield batch
        shown()
