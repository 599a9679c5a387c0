"""When and how the user of a session was authenticated: here, or elsewhere by the word of a client."""

import re
from typing import Final, NamedTuple

# A method by which the user was authenticated (RFC 8176), and a level of assurance. Both are stored with the session.
METHOD: Final = re.compile(r"[!#-\[\]-~]{1,16}")
MAX_METHODS: Final = 8
LEVEL: Final = re.compile(r"[!#-\[\]-~]{1,64}")

# The levels that follow from the methods. AAL2: two factors, or a passkey that verified its user.
AAL1: Final = "aal1"
AAL2: Final = "aal2"
# Two factors were used (RFC 8176 section 2).
MULTI_FACTOR: Final = "mfa"
# A key in hardware, and a key that is synchronised between devices. `user`: the key verified its user.
KEYS: Final = frozenset({"hwk", "swk"})
_USER_VERIFIED: Final = "user"


class Authentication(NamedTuple):
    """The members of an introspection that tell of the user's authentication.

    auth_time: epoch seconds; None: unknown. acr: None without methods. vouched_by: the client that says so; None: it
    happened here.
    """

    auth_time: int | None
    amr: tuple[str, ...] = ()
    acr: str | None = None
    vouched_by: str | None = None

    def is_recent(self, max_age_s: int, now: float) -> bool:
        """Whether the user was authenticated at most so long ago."""
        return self.auth_time is not None and now - self.auth_time <= max_age_s

    def reaches(self, levels: str) -> bool:
        """Whether the user was authenticated at one of these levels, separated by spaces. `aal2` is `aal1` too."""
        wanted = levels.split(" ")
        return self.acr is not None and (self.acr in wanted or (self.acr == AAL2 and AAL1 in wanted))


class Vouched(NamedTuple):
    """An authentication elsewhere as a session stores it. It takes 40 bytes with a level and three short methods.

    amr: the methods, with spaces between. acr: "" if it follows from the methods.
    """

    auth_time: int | None
    amr: str
    acr: str

    @classmethod
    def of(cls, auth_time: int | None, amr: tuple[str, ...], acr: str | None) -> "Vouched":
        return cls(auth_time, " ".join(amr), "" if acr is None or acr == level(amr) else acr)

    def told(self) -> dict[str, object]:
        """The members that the client gave, for the audit trail."""
        told = {"auth_time": self.auth_time, "amr": self.amr.split(), "acr": self.acr}
        return {name: value for name, value in told.items() if value}

    def by(self, client_id: str) -> Authentication:
        """The same by the word of this client."""
        amr = tuple(self.amr.split())
        return Authentication(self.auth_time, amr, self.acr or level(amr), client_id)


def level(amr: tuple[str, ...]) -> str | None:
    """The level of assurance that follows from the methods; None without methods."""
    if MULTI_FACTOR in amr or (_USER_VERIFIED in amr and not KEYS.isdisjoint(amr)):
        return AAL2
    return AAL1 if amr else None
