"""Hashes passwords with argon2id, and verifies them against its hashes and imported ones."""

import asyncio
import time

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from authsvc.core.argon2_profiles import Argon2Profile
from authsvc.core.imported_hash_text import is_imported
from authsvc.errors import CorruptRecord, InvalidRequest, Overloaded
from authsvc.hashing import imported
from authsvc.hashing.pool import HashPool
from authsvc.metrics import Metrics


class Hasher:
    """Hashes and verifies passwords on threads, so that a hash never holds up the event loop.

    Each call raises Overloaded when the queue is full. `threads`: hashes at the same time.
    """

    def __init__(self, profile: Argon2Profile, *, threads: int, metrics: Metrics | None = None) -> None:
        self._argon2 = PasswordHasher(
            time_cost=profile.time_cost,
            memory_cost=profile.memory_kib,
            parallelism=profile.parallelism,
            hash_len=32,
            salt_len=16,
        )
        self._pool = HashPool(threads, metrics or Metrics())
        # For users who do not exist, with the parameters of users who do.
        self._dummy = self._argon2.hash("nobody has this password")
        # The longest check of an imported hash so far. From then on refusals take no less: a faster refusal would tell
        # other users from an imported user who has not logged in yet.
        self._slowest_s = 0.0

    async def hash(self, password: str) -> str:
        return await self._pool.run(lambda: self._argon2.hash(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the stored hash is of this password. Without a hash the answer is no, after the same time."""
        verdict = await self._pool.run(lambda: self._verify(stored or self._dummy, password))
        return verdict and stored is not None

    async def pad_to_slowest(self, began: float) -> None:
        """Wait until a check that began at this time.monotonic() has taken as long as one of an imported hash."""
        await asyncio.sleep(max(0.0, began + self._slowest_s - time.monotonic()))

    def refuse_if_full(self) -> None:
        """Raise Overloaded if the queue is full."""
        self._pool.refuse_if_full()

    def outdated(self, stored: str) -> bool:
        """Whether another system made the hash, or this service with other parameters than today's."""
        return is_imported(stored) or self._argon2.check_needs_rehash(stored)

    def close(self) -> None:
        self._pool.close()

    def _verify(self, stored: str, password: str) -> bool:
        try:
            if is_imported(stored):
                return self._verify_imported(stored, password)
            return self._argon2.verify(stored, password)
        except VerifyMismatchError:
            return False
        except (InvalidHashError, InvalidRequest):
            raise CorruptRecord("a stored hash does not parse") from None
        except VerificationError as error:  # such as too little memory, which says nothing about the password
            raise Overloaded("the password could not be checked, try again") from error

    def _verify_imported(self, stored: str, password: str) -> bool:
        began = time.thread_time()  # the time of this thread: other threads may run meanwhile
        right = imported.verify(stored, password)
        self._slowest_s = max(self._slowest_s, time.thread_time() - began)
        return right
