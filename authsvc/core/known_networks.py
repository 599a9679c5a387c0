"""The networks from which an account was used: guesses from elsewhere do not lock its owner out there."""

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Self

import msgspec

from authsvc.core.record import Record

# How many networks an account remembers, and for how long after the last login from each of them.
MOST = 8
MEMORY_S = 90 * 86400
# A login from a known network is noted once a day at most, so that most logins write nothing.
NOTED_EACH_S = 86400


def network_digest(account: str, address: str) -> str:
    """The stored form of a network. Two accounts in one network have different digests."""
    whole = sha256(f"{account}\n{address}".encode("utf-8", "surrogatepass")).digest()
    return urlsafe_b64encode(whole[:12]).decode()


class KnownNetworks(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The networks of the last successful logins to an account: the digest of each, and when it was noted."""

    noted: dict[str, int] = msgspec.field(default_factory=dict)

    def expires_at(self) -> int:
        return max(self.noted.values(), default=0) + MEMORY_S

    def has(self, network: str, now: float) -> bool:
        return now < self.noted.get(network, -MEMORY_S) + MEMORY_S

    def due(self, network: str, now: float) -> bool:
        """Whether a login from this network is to be noted."""
        return now >= self.noted.get(network, -NOTED_EACH_S) + NOTED_EACH_S

    def with_login(self, network: str, now: float) -> Self:
        """The networks after a login from this one. If there are too many, the oldest is dropped."""
        noted = {known: at for known, at in self.noted.items() if known != network and self.has(known, now)}
        latest = sorted(noted.items(), key=lambda one: one[1])[-(MOST - 1) :]
        return self.but(noted={**dict(latest), network: int(now)})
