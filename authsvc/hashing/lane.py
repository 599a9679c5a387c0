"""The lane of the imported hashes: its own threads, and one duration for all refusals.

Checking an imported hash may take a second. Its own threads keep such checks from delaying anybody's login with a hash
of this service. A refusal must not tell which names have an imported hash. So every refusal passes through here, takes
the same time, and finds the same lane full: also the refusal of an unknown name, and of a wrong password.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from authsvc.core.imported_hash import ImportedHash
from authsvc.hashing import imported
from authsvc.hashing.imported import Uncheckable
from authsvc.hashing.pool import QUEUE_PER_THREAD, HashThreads
from authsvc.metrics import Metrics

# The longest wait for a thread of the lane. Each refusal takes this time too, so that the wait cannot be seen.
MAX_WAIT_S: Final = 1.0
# If a check takes longer, threads with a higher priority compute it again: see `HashThreads`.
_LATE_S: Final = 10.0
_MOST_SLOWDOWN: Final = 4.0
_FORGETTING: Final = 0.8


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of a password found. checked: False if the lane was full: only `right` may then be wrong.

    unusable: why no password can be checked against the stored hash.
    """

    right: bool = False
    checked: bool = True
    unusable: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """An imported hash to check, and the time that this takes."""

    hash: ImportedHash
    password: str
    seconds: float

    def __repr__(self) -> str:
        return "Job()"  # without the hash and the password

    def run(self) -> Verdict:
        try:
            return Verdict(right=imported.verify(self.hash, self.password))
        except Uncheckable as reason:
            return Verdict(unusable=str(reason))


class ImportedLane:
    """Checks imported hashes one after the other, and delays all refusals alike."""

    def __init__(self, threads: int, metrics: Metrics) -> None:
        self._threads = HashThreads(max(1, threads // 2), metrics, late_s=_LATE_S)
        self._metrics = metrics
        self._queued_s = 0.0  # the time that running and waiting checks take in all
        self._slowdown = 1.0  # how much longer checks took lately than their processor time
        self._names: set[str] = set()

    async def check(self, name: str, job: Job | None, slowest_s: float) -> Verdict:
        """Check the hash if there is one to check here; without one the answer is no.

        slowest_s: the time of the slowest form in use. Each answer but "right" comes after this time and the longest
        wait. A second attempt at the same name meanwhile is not checked: ten guesses at one name take one thread for
        one check, and no name shows how long its own check takes.
        """
        wait_s = min(MAX_WAIT_S, QUEUE_PER_THREAD * slowest_s)
        if name in self._names or self._queued_s >= wait_s * self._threads.threads:
            self._metrics.hash_refused.add()
            return Verdict(checked=False)
        self._names.add(name)
        until = time.monotonic() + wait_s + slowest_s * self._slowdown
        try:
            verdict = Verdict() if job is None else await self._run(job)
            if not verdict.right:
                await asyncio.sleep(max(0.0, until - time.monotonic()))
            return verdict
        finally:
            self._names.discard(name)

    def close(self) -> None:
        self._threads.close()

    async def _run(self, job: Job) -> Verdict:
        self._take(job.seconds)
        return await self._threads.run(lambda: self._timed(job), lambda: self._take(-job.seconds))

    def _timed(self, job: Job) -> Verdict:
        began = time.monotonic()
        verdict = job.run()
        took = (time.monotonic() - began) / job.seconds
        # On a busy machine all refusals wait longer, and when it is idle again they soon wait less.
        self._slowdown = min(_MOST_SLOWDOWN, max(1.0, _FORGETTING * self._slowdown, took))
        return verdict

    def _take(self, seconds: float) -> None:
        # Rounding must not leave a remainder that closes the lane.
        self._queued_s = max(0.0, round(self._queued_s + seconds, 6))
        self._metrics.imported_hashes_queued.set(self._queued_s)
