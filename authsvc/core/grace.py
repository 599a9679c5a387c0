"""The record of the last refresh during its grace: the tokens before it, and the seed that gives its pair again."""

from typing import Final, Self

from authsvc.core import token as tokens
from authsvc.core.address import neighbourhood
from authsvc.core.record import Part, Record

# How many repeats of one refresh the audit trail keeps. The log and the metric have all of them.
MAX_NOTED: Final = 4


class Previous(Part, frozen=True, kw_only=True, omit_defaults=True):
    """Digests of the tokens before the current ones, and until when they work (epoch seconds). Part of a session.

    access_until: never later than the expiry of the access token. The grace prolongs no access token.

    answered: whether one of the current tokens was used within the grace. It shows that the answer arrived.
    """

    hidden = Part.hidden | {"access", "refresh"}

    access: str
    refresh: str
    until: int
    access_until: int
    access_scope: str | None = None
    answered: bool = False

    def awaits_answer(self, now: float) -> bool:
        """Whether a use of a current token would be the first one within the grace."""
        return not self.answered and now < self.until


class Grace(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The record `grace:{session:<handle>}:<refresh>`, which gives the pair of the last refresh again.

    It lives as long as the grace. Without it nobody can derive that pair, also with a copy of the whole store.

    seed: the secret from which that pair was derived. Each rotation has its own.

    origin: a digest of the network and the user agent of the refresh that was answered first.

    noted: how many repeats the audit trail has.
    """

    hidden = Record.hidden | {"seed", "origin"}

    seed: str
    origin: str
    noted: int = 0

    @classmethod
    def begun(cls, seed: str, ip: str | None, user_agent: str | None) -> Self:
        return cls(seed=seed, origin=_origin(seed, ip, user_agent))

    def is_from(self, ip: str | None, user_agent: str | None) -> bool:
        """Whether the first refresh came from the same network and user agent."""
        return tokens.is_same_digest(self.origin, _origin(self.seed, ip, user_agent))

    def with_repeat(self) -> Self:
        """The same after one more repeat; unchanged if the audit trail has enough of them."""
        return self if self.noted >= MAX_NOTED else self.but(noted=self.noted + 1)


def _origin(seed: str, ip: str | None, user_agent: str | None) -> str:
    return tokens.digest(f"{seed}\n{neighbourhood(ip)}\n{user_agent or ''}")
