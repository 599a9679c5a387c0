"""Threads that compute password hashes and leave the cores to the event loop, and a bounded queue before them."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from authsvc.errors import Overloaded
from authsvc.metrics import Metrics

T = TypeVar("T")

# Waiting hashes for each thread. A hash takes some 20 ms, so a full queue is a tenth of a second of waiting.
QUEUE_PER_THREAD = 4
# If a hash takes longer, a second pool with a higher priority computes it again: on a busy machine, threads at
# SCHED_IDLE may get no time at all.
LATE_S = 3.0


class HashThreads:
    """Runs hash computations on threads that leave the cores to the event loop."""

    def __init__(self, threads: int, metrics: Metrics, *, late_s: float | None = None) -> None:
        self.threads = threads
        self._late_s = late_s
        self._metrics = metrics
        self._idle = _Threads(threads, "hash", _use_idle_scheduling)
        self._late = _Threads(threads, "hash-late", _lower_priority)

    async def run(self, work: Callable[[], T], done: Callable[[], object]) -> T:
        """The result of `work`, which runs on a thread; twice if the first run is late.

        done: called on the event loop when the thread is free again. A caller that has gone away leaves a hash that
        still runs.
        """
        loop = asyncio.get_running_loop()
        first = self._idle.submit(partial(self._timed, work, loop))
        first.add_done_callback(lambda _: _on_loop(loop, done))
        runs = [asyncio.wrap_future(first)]
        try:
            ended, _ = await asyncio.wait(runs, timeout=self._late_s or LATE_S)
            if not ended:
                runs.append(asyncio.wrap_future(self._late.submit(partial(self._timed, work, loop))))
                ended, _ = await asyncio.wait(runs, return_when=asyncio.FIRST_COMPLETED)
            return ended.pop().result()
        finally:
            for future in runs:
                future.cancel()

    def close(self) -> None:
        for pool in (self._idle, self._late):
            pool.close()

    def _timed(self, work: Callable[[], T], loop: asyncio.AbstractEventLoop) -> T:
        started = time.perf_counter()
        try:
            return work()
        finally:
            took = time.perf_counter() - started
            _on_loop(loop, lambda: self._metrics.hash_duration.observe(took))


class _Threads:
    """Daemon threads for work that nobody waits for at the end of the process.

    Python waits at its end for every thread of a ThreadPoolExecutor. A thread at SCHED_IDLE may get no time for minutes
    on a busy machine, and a service that is told to stop would stay.
    """

    def __init__(self, threads: int, name: str, prepare: Callable[[], None]) -> None:
        self._threads, self._name, self._prepare = threads, name, prepare
        self._todo: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._started = 0

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        if self._started < self._threads:
            threading.Thread(target=self._run, name=f"{self._name}_{self._started}", daemon=True).start()
            self._started += 1
        future: Future[T] = Future()
        self._todo.put((future, work))
        return future

    def close(self) -> None:
        """Cancel the waiting work. Running work goes on, and then its thread ends."""
        with suppress(Empty):
            while True:
                waiting = self._todo.get_nowait()
                if waiting is not None:
                    waiting[0].cancel()
        for _ in range(self._started):
            self._todo.put(None)

    def _run(self) -> None:
        self._prepare()
        while (todo := self._todo.get()) is not None:
            future, work = todo
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)


class HashPool:
    """Bounds how many hash computations run and wait. Metrics tell how many."""

    def __init__(self, threads: int, metrics: Metrics) -> None:
        self._metrics = metrics
        self._threads = HashThreads(threads, metrics)
        self._capacity = self._free = threads * (1 + QUEUE_PER_THREAD)
        metrics.hash_capacity.set(self._capacity)

    def refuse_if_full(self) -> None:
        """Raise Overloaded if the queue is full."""
        if self._free <= 0:
            self._metrics.hash_refused.add()
            raise Overloaded("too many passwords are being checked, try again")

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, which runs on a thread. Raises Overloaded when full."""
        self.refuse_if_full()
        self._take(1)
        return await self._threads.run(work, lambda: self._take(-1))

    def close(self) -> None:
        self._threads.close()

    def _take(self, places: int) -> None:
        self._free -= places
        taken = self._capacity - self._free
        self._metrics.hash_in_flight.set(min(taken, self._threads.threads))
        self._metrics.hash_waiting.set(max(taken - self._threads.threads, 0))


def _on_loop(loop: asyncio.AbstractEventLoop, work: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(work)


def _lower_priority() -> None:
    """Let the event loop go first where both share a core: a storm of logins must not slow introspection down."""
    if sys.platform == "linux":  # where each thread has a priority
        with suppress(PermissionError):  # a sandbox may forbid it, and nobody could log in if the thread ended here
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _use_idle_scheduling() -> None:
    """Run at SCHED_IDLE: a thread of that class gives up its core at once, where others keep it for milliseconds.

    An unprivileged thread cannot leave the class, so a second pool computes late hashes.
    """
    _lower_priority()
    if sys.platform == "linux":
        with suppress(PermissionError):  # as above
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
