"""A login in progress: what was proven so far, and what it waits for. One record, `step:<handle>`."""

from typing import Final, Self

from authsvc.core.record import Record
from authsvc.core.session import Epochs
from authsvc.core.token import Token, is_same_digest

LIFE_S: Final = 600
MAX_ATTEMPTS: Final = 5

# Instead of a proof: the user has no factor, and enrols one.
ENROL: Final = "enrol"

_STORED = {
    "client_id": "cid",
    "user_agent": "ua",
    "factors_epoch": "fe",
    "attempts": "n",
}


class Step(Record, frozen=True, kw_only=True, omit_defaults=True, rename=_STORED):
    """A login that needs more than was proven. Its client holds the token `aut_…`, of which this has the digest.

    proven: `amr` so far. epochs: those from before the password was checked. factors_epoch: see `Factors`.
    methods: what may continue it, in the order in which the client may offer it.
    trusts: whether a device may be trusted at its end; not where the policy demands `aal2`.
    session: the handle of the session that steps up; None for a login.
    scope, device, cookie: of the first request. A later one can't change them.
    ip, user_agent: those of the user, if a web server named them at the first step.
    attempts: how many answers were looked at. done: whether one was right; the record is about to be deleted.
    """

    hidden = Record.hidden | {"digest"}

    digest: str
    sub: str
    client_id: str
    epochs: Epochs
    factors_epoch: int = 0
    proven: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    trusts: bool = False
    session: str | None = None
    scope: str = ""
    device: str | None = None
    cookie: bool = False
    ip: str | None = None
    user_agent: str | None = None
    until: int
    attempts: int = 0
    done: bool = False

    def expires_at(self) -> int:
        return self.until

    def opens_with(self, token: Token, now: float) -> bool:
        """Whether the token is this login's, and the login still waits for an answer."""
        return is_same_digest(self.digest, token.digest) and now < self.until and self.waits

    @property
    def waits(self) -> bool:
        return not self.done and self.attempts < MAX_ATTEMPTS

    def with_attempt(self) -> Self:
        return self.but(attempts=self.attempts + 1)

    def finished(self) -> Self:
        return self.but(done=True)
