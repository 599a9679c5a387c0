"""Hashes passwords with argon2id, and verifies them against its hashes and imported ones."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from authsvc.core.argon2_profiles import Argon2Profile
from authsvc.core.hash_form import Form
from authsvc.core.imported_hash import MAX_CHECK_S, ImportedHash
from authsvc.core.imported_hash_text import parse
from authsvc.errors import CorruptRecord, InvalidRequest, Overloaded, StartupError
from authsvc.hashing.cost import cost_of
from authsvc.hashing.lane import ImportedLane, Job, Verdict
from authsvc.hashing.pool import HashPool
from authsvc.metrics import Metrics

log = logging.getLogger(__name__)


class Hasher:
    """Hashes and verifies passwords on threads, so that a hash never holds up the event loop.

    Each call raises Overloaded when the queue is full. `threads`: hashes at the same time.

    A hash counts as imported if another system made it, or this service with other parameters than today's.
    """

    def __init__(self, profile: Argon2Profile, *, threads: int, metrics: Metrics | None = None) -> None:
        self._argon2 = PasswordHasher(
            time_cost=profile.time_cost,
            memory_cost=profile.memory_kib,
            parallelism=profile.parallelism,
            hash_len=32,
            salt_len=16,
        )
        metrics = metrics or Metrics()
        self._pool = HashPool(threads, metrics)
        self._lane = ImportedLane(threads, metrics)
        # For users who do not exist, with the parameters of users who do.
        self._dummy = self._argon2.hash("nobody has this password")
        self._measured: dict[str, asyncio.Future[float]] = {}

    async def hash(self, password: str) -> str:
        return await self._pool.run(lambda: self._argon2.hash(password))

    async def check(self, stored: str | None, password: str, *, name: str, forms: Iterable[str]) -> Verdict:
        """Whether the stored hash is of this password. Without a hash the answer is no, after the same time.

        name: of the account. forms: the forms of all imported hashes in use, with the form of this one. Raises
        CorruptRecord if the hash is damaged.
        """
        imported = stored is not None and self.outdated(stored)
        # Hashes of this service come first for every name: a full queue of theirs must look the same to all.
        if await self.verify(None if imported else stored, password):
            return Verdict(right=True)
        slowest_s = max([await self._seconds(form) for form in forms], default=0.0)
        job, unusable = None, None
        if imported and stored is not None:
            parsed = _parsed(stored)
            try:
                parsed.check_parameters()
                job = Job(parsed, password, await self._seconds(str(parsed.form)))
            except InvalidRequest as reason:  # from before these bounds: the user needs a reset code
                unusable = str(reason)
        try:
            verdict = await self._lane.check(name, job, slowest_s) if slowest_s else Verdict()
        except VerificationError as error:
            raise _not_checked() from error
        return replace(verdict, unusable=unusable) if unusable else verdict

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether a hash that this service made is of this password. Without a hash the answer is no."""
        verdict = await self._pool.run(lambda: self._verify(stored or self._dummy, password))
        return verdict and stored is not None

    async def learn(self, forms: Iterable[str]) -> None:
        """Measure these forms, so that no login has to wait for that."""
        for form in forms:
            await self._seconds(form)

    def refuse_if_full(self) -> None:
        """Raise Overloaded if the queue is full."""
        self._pool.refuse_if_full()

    def outdated(self, stored: str) -> bool:
        """Whether another system made the hash, or this service with other parameters than today's."""
        try:
            return self._argon2.check_needs_rehash(stored)
        except InvalidHashError:
            return True

    def close(self) -> None:
        self._pool.close()
        self._lane.close()

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._argon2.verify(stored, password)
        except VerifyMismatchError:
            return False
        except InvalidHashError:
            raise CorruptRecord("a stored hash does not parse") from None
        except VerificationError as error:  # such as too little memory, which says nothing about the password
            raise _not_checked() from error

    async def _seconds(self, form: str) -> float:
        """The time that a check of this form takes here. Measured once, in a process of its own."""
        if form not in self._measured:
            self._measured[form] = asyncio.ensure_future(asyncio.to_thread(_measured_s, form))
        return await asyncio.shield(self._measured[form])


def _parsed(stored: str) -> ImportedHash:
    """The parts of a stored hash. Raises CorruptRecord."""
    try:
        return parse(stored)
    except InvalidRequest:
        raise CorruptRecord("a stored hash does not parse") from None


def _not_checked() -> Overloaded:
    return Overloaded("the password could not be checked, try again")


def _measured_s(form: str) -> float:
    try:
        return cost_of(Form.parse(form)).seconds
    except (InvalidRequest, StartupError) as error:  # over the bounds on this machine, or of a newer version
        log.warning("imported hashes of the form %s are not checked as they should be on this machine: %s", form, error)
        return MAX_CHECK_S
