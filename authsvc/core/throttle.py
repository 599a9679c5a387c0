"""How many wrong guesses at a secret are heard, and when the next one is.

An attempt is counted before the secret is checked and taken back when it was right, so a hundred guesses at once get
no further than the limit. NIST SP 800-63B-4 section 3.2.2 asks for at most 100 wrong ones in a row.
"""

from dataclasses import dataclass
from typing import Self

from authsvc.core.record import Record


@dataclass(frozen=True, slots=True)
class Limit:
    """`free` attempts, then each waits `base_s` · 2^n up to `max_s`. All is forgotten `memory_s` after the last.

    base_s 0: after the free ones nothing is heard until the window of `memory_s` has passed.
    in_a_row: a right attempt clears the count; otherwise it only takes itself back.
    """

    name: str
    free: int
    memory_s: int
    base_s: float = 0
    max_s: float = 0
    in_a_row: bool = False


PER_ACCOUNT_AND_ADDRESS = Limit("pair", free=5, memory_s=3600, base_s=1, max_s=60, in_a_row=True)
PER_ACCOUNT = Limit("account", free=100, memory_s=86400, in_a_row=True)
PER_ADDRESS = Limit("address", free=20, memory_s=300)
PER_NETWORK = Limit("network", free=200, memory_s=300)
PER_CLIENT = Limit("client", free=10, memory_s=60)
LIMITS = (PER_ACCOUNT_AND_ADDRESS, PER_ACCOUNT, PER_ADDRESS, PER_NETWORK, PER_CLIENT)

# An attempt that has not been judged by then belonged to a process that died: it stays counted as a wrong one.
PENDING_S = 10


class Attempts(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The attempts that one limit has counted. `pending` of them are still being checked.

    last: epoch seconds of the last one; until: when all of this is forgotten.
    """

    count: int = 0
    pending: int = 0
    last: float = 0
    until: int = 0

    def expires_at(self) -> int:
        return self.until

    def wait_s(self, limit: Limit, now: float) -> float:
        """Seconds until the next attempt is heard; 0 is now."""
        if self.count < limit.free or now >= self.until:
            return 0
        if not limit.base_s:
            return self.until - now
        delay = min(limit.base_s * 2.0 ** min(self.count - limit.free, 30), limit.max_s)
        return max(self.last + delay - now, 0)

    def undecided(self, limit: Limit, now: float) -> bool:
        """Whether only attempts under way fill it: they may all be right, as when one user's apps start."""
        return self.count - self.pending < limit.free and now - self.last < PENDING_S

    def counted(self, limit: Limit, now: float) -> Self:
        """With one more attempt, not yet judged."""
        if now >= self.until:
            return self.but(count=1, pending=1, last=now, until=int(now) + limit.memory_s)
        # A limit with waiting remembers from the last attempt on, a window from its first.
        until = int(now) + limit.memory_s if limit.base_s else self.until
        # Who was checking those before has died, then: nobody will judge them, and they are wrong ones like others,
        # which a right one clears. Else each crash would cost the account an attempt for as long as it is used.
        pending = self.pending if now - self.last < PENDING_S else 0
        return self.but(count=self.count + 1, pending=pending + 1, last=now, until=until)

    def judged(self, limit: Limit, *, right: bool | None) -> Self:
        """After one attempt was checked. A wrong one stays counted; a right one ends a row of wrong ones.

        right None: it was never looked at, so it takes itself back and proves nothing about those before it.
        """
        pending = max(self.pending - 1, 0)
        if right is False:
            return self.but(pending=pending)
        return self.but(pending=pending, count=pending if right and limit.in_a_row else max(self.count - 1, 0))
