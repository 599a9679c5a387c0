"""Rate limits for guesses at a secret: how many are checked, and when the next one is.

An attempt is counted before the secret is checked, and taken back if it was right. So a hundred guesses at once get no
further than the limit. NIST SP 800-63B-4 section 3.2.2 asks for at most 100 wrong guesses in a row.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from authsvc.core.record import Record


@dataclass(frozen=True, slots=True)
class Limit:
    """One rate limit: `free` attempts at once, then each waits `base_s` · growth^n seconds, at most `max_s`.

    memory_s: how long the count is kept after the first attempt. After the last one if the attempts are in a row, or if
    attempts wait already.

    base_s: 0 refuses all attempts after the free ones, until the count is forgotten.

    in_a_row: whether a right attempt sets the count to zero. Otherwise it only takes itself back.
    """

    name: str
    free: int
    memory_s: int
    base_s: float = 0
    growth: float = 2
    max_s: float = 0
    in_a_row: bool = False


_DAY_S = 86400
PER_ACCOUNT_AND_ADDRESS = Limit("pair", free=5, memory_s=3600, base_s=1, max_s=60, in_a_row=True)
# The three limits of an account lock it for 1, 5, 25 minutes … a day. Their memory is longer than the longest lock.
# A right attempt from one source must not open what another source has locked. Otherwise the lock would tell who is
# active. So only the limits of a single network are in a row.
PER_ACCOUNT_AND_KNOWN_NETWORK = Limit(
    "known", free=100, memory_s=2 * _DAY_S, base_s=60, growth=5, max_s=_DAY_S, in_a_row=True
)
PER_ACCOUNT_AND_SOURCE = Limit("source", free=20, memory_s=2 * _DAY_S, base_s=60, growth=5, max_s=_DAY_S)
PER_ACCOUNT = Limit("account", free=100, memory_s=2 * _DAY_S, base_s=60, growth=5, max_s=_DAY_S)
PER_ADDRESS = Limit("address", free=20, memory_s=300)
PER_NETWORK = Limit("network", free=200, memory_s=300)
# A thief of the password guesses codes: three of a million are right at any time. Only a completed login clears this.
PER_FACTOR = Limit("factor", free=20, memory_s=2 * _DAY_S, base_s=60, growth=5, max_s=_DAY_S, in_a_row=True)
PER_CLIENT = Limit("client", free=10, memory_s=60)

# Not a guess: each one takes a record of the store for some minutes.
PER_PASSKEY_OPTIONS = Limit("passkey", free=300, memory_s=300)
# Not a guess either: each one reads and writes as many keys as it names tokens, a thousand at most.
PER_LEAK_REPORT = Limit("leak", free=60, memory_s=300)


class Limits(NamedTuple):
    """All rate limits of an installation. The defaults are the recommended values."""

    pair: Limit = PER_ACCOUNT_AND_ADDRESS
    known: Limit = PER_ACCOUNT_AND_KNOWN_NETWORK
    source: Limit = PER_ACCOUNT_AND_SOURCE
    account: Limit = PER_ACCOUNT
    address: Limit = PER_ADDRESS
    network: Limit = PER_NETWORK
    client: Limit = PER_CLIENT
    factor: Limit = PER_FACTOR
    passkey: Limit = PER_PASSKEY_OPTIONS
    leak: Limit = PER_LEAK_REPORT

    def allowing(self, **free: int) -> Self:
        """The limits with other numbers of free attempts, by the name of the limit."""
        return self._replace(**{name: replace(getattr(self, name), free=number) for name, number in free.items()})


LIMITS = Limits()

# After this time an attempt without a verdict belongs to a process that died. It stays counted as wrong.
PENDING_S = 10


class Attempts(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The attempts that one limit has counted. `pending`: how many of them are still being checked.

    last: the time of the last attempt. until: when the count is forgotten. Both in epoch seconds.
    """

    count: int = 0
    pending: int = 0
    last: float = 0
    until: int = 0

    def expires_at(self) -> int:
        return self.until

    def wait_s(self, limit: Limit, now: float) -> float:
        """Seconds until the next attempt is checked; 0 is now."""
        if self.count < limit.free or now >= self.until:
            return 0
        if not limit.base_s:
            return self.until - now
        delay = min(limit.base_s * limit.growth ** min(self.count - limit.free, 30), limit.max_s)
        return max(self.last + delay - now, 0)

    def undecided(self, limit: Limit, now: float) -> bool:
        """Whether only pending attempts reach the limit. All may be right, as when a user's apps start together."""
        return self.count - self.pending < limit.free and now - self.last < PENDING_S

    def counted(self, limit: Limit, now: float) -> Self:
        """The attempts with one more, which is pending."""
        if now >= self.until:
            return self.but(count=1, pending=1, last=now, until=int(now) + limit.memory_s)
        lasting = limit.in_a_row or (limit.base_s and self.count + 1 >= limit.free)
        until = int(now) + limit.memory_s if lasting else self.until
        # Older pending attempts belong to a process that died. They become wrong attempts, so that a right one clears
        # them. Otherwise each crash would take one attempt from the account for ever.
        pending = self.pending if now - self.last < PENDING_S else 0
        return self.but(count=self.count + 1, pending=pending + 1, last=now, until=until)

    def judged(self, limit: Limit, *, right: bool | None) -> Self:
        """The attempts after one of them was checked. A wrong one stays counted.

        right: None means that the attempt was not checked. It takes itself back, and clears no others.
        """
        pending = max(self.pending - 1, 0)
        if right is False:
            return self.but(pending=pending)
        return self.but(pending=pending, count=pending if right and limit.in_a_row else max(self.count - 1, 0))
