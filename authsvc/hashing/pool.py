"""Passwords on threads of their own, so that hashing never holds up the event loop: argon2id, and what was imported."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from authsvc.core import imported_hash as foreign
from authsvc.errors import CorruptRecord, InvalidRequest, Overloaded
from authsvc.metrics import Metrics

T = TypeVar("T")

# Waiting hashes for each thread. At some 20 ms a hash a full queue is a tenth of a second; beyond it, callers are told.
QUEUE_PER_THREAD = 4


# A hash that has not come out by then is computed again with more priority: others want all there is of the cores.
LATE_S = 3.0


def _step_back() -> None:
    """Let the event loop go first where they share a core: a storm of logins must not slow introspection down."""
    if sys.platform == "linux":  # where a thread has a priority of its own
        with suppress(PermissionError):  # a sandbox may forbid it, and without a thread nobody could log in
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _step_aside() -> None:
    """Use only the time that nobody else wants, and make way at once: in turns one would keep a core for milliseconds.

    There is no way back from it for who has no privileges, so the late ones are another thread's.
    """
    _step_back()
    if sys.platform == "linux":
        with suppress(PermissionError):
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))


class Hasher:
    """Hashes and verifies passwords. Raises Overloaded when the queue is full."""

    def __init__(
        self, *, time_cost: int, memory_kib: int, parallelism: int, threads: int, metrics: Metrics | None = None
    ) -> None:
        self._metrics = metrics or Metrics()
        self._argon2 = PasswordHasher(
            time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism, hash_len=32, salt_len=16
        )
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2", initializer=_step_aside)
        self._late = ThreadPoolExecutor(threads, thread_name_prefix="argon2-late", initializer=_step_back)
        self._threads = threads
        self._capacity = self._room = threads * (1 + QUEUE_PER_THREAD)
        self._metrics.hash_capacity.set(self._capacity)
        # What is verified for users that don't exist, with the parameters of those that do.
        self._nobody = self._argon2.hash("nobody has this password")
        # The most that checking an imported hash has taken here. Refusals take no less from then on, or they would tell
        # an imported user who has not logged in yet from everybody else.
        self._slowest_s = 0.0

    async def hash(self, password: str) -> str:
        return await self._computed(lambda: self._argon2.hash(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password is the one hashed; takes as long, and says no, when there is no hash."""
        verdict = await self._computed(lambda: self._verify(stored or self._nobody, password))
        return verdict and stored is not None

    async def even_out(self, began: float) -> None:
        """Wait until a check begun at this time.monotonic() has taken as long as one of an imported hash."""
        await asyncio.sleep(max(0.0, began + self._slowest_s - time.monotonic()))

    def refuse_if_full(self) -> None:
        """Raise Overloaded if there is no room for one more now."""
        if self._room <= 0:
            self._metrics.hash_refused.add()
            raise Overloaded("too many passwords are being checked, try again")

    def outdated(self, stored: str) -> bool:
        """Whether the hash was made by others, or with other parameters than today's."""
        return foreign.is_foreign(stored) or self._argon2.check_needs_rehash(stored)

    def close(self) -> None:
        for pool in (self._pool, self._late):
            pool.shutdown(wait=True, cancel_futures=True)

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return (
                self._verify_foreign(stored, password)
                if foreign.is_foreign(stored)
                else self._argon2.verify(stored, password)
            )
        except VerifyMismatchError:
            return False
        except (InvalidHashError, InvalidRequest):
            raise CorruptRecord("a stored hash does not parse") from None
        except VerificationError as error:  # such as no memory: nothing is known about the password
            raise Overloaded("the password could not be checked, try again") from error

    def _verify_foreign(self, stored: str, password: str) -> bool:
        began = time.thread_time()  # of this thread alone: what others do meanwhile says nothing about the hash
        right = foreign.verify(stored, password)
        self._slowest_s = max(self._slowest_s, time.thread_time() - began)
        return right

    async def _computed(self, work: Callable[[], T]) -> T:
        first = asyncio.wrap_future(self._submit(work))
        tries = [first]
        try:
            done, _ = await asyncio.wait(tries, timeout=LATE_S)
            if not done:
                tries.append(asyncio.wrap_future(self._late.submit(self._timed, work, asyncio.get_running_loop())))
                done, _ = await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for each in tries:
                each.cancel()

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        self.refuse_if_full()
        loop = asyncio.get_running_loop()
        self._room -= 1
        self._count()
        future = self._pool.submit(self._timed, work, loop)
        # The room is given back when the hash is done, not when its caller has gone away: the work is real until then.
        future.add_done_callback(lambda _: self._give_back(loop))
        return future

    def _give_back(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to need the room
            loop.call_soon_threadsafe(self._one_more)

    def _one_more(self) -> None:
        self._room += 1
        self._count()

    def _count(self) -> None:
        taken = self._capacity - self._room
        self._metrics.hash_in_flight.set(min(taken, self._threads))
        self._metrics.hash_waiting.set(max(taken - self._threads, 0))

    def _timed(self, work: Callable[[], T], loop: asyncio.AbstractEventLoop) -> T:
        started = time.perf_counter()
        try:
            return work()
        finally:
            took = time.perf_counter() - started
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._metrics.hash_duration.observe, took)
