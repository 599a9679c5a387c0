"""The three levels of power over other users, and the roles that give them.

An admin may do everything. Support sees everything, ends sessions, makes reset codes, unlocks and suspends, but not for
users who have power themselves. An auditor only reads.
"""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from authsvc.core.user import ADMIN_ROLE

Level = Literal["auditor", "support", "admin"]
# Each level may do what those before it may.
_ORDER: Final[tuple[Level, ...]] = ("auditor", "support", "admin")


class Powers(NamedTuple):
    """The roles that give power over others. None: nobody has this level."""

    support: str | None = None
    auditor: str | None = None

    def roles_for(self, needed: Level) -> tuple[str, ...]:
        """The roles that reach this level, the most powerful one first."""
        by_level = {"auditor": self.auditor, "support": self.support, "admin": ADMIN_ROLE}
        reaching = [by_level[level] for level in reversed(_ORDER) if reaches(level, needed)]
        return tuple(role for role in reaching if role is not None)

    @property
    def guarded(self) -> frozenset[str]:
        """All roles that give power. Only admins may give them, and act on those who have them."""
        return frozenset(self.roles_for("auditor"))

    def level_of(self, roles: Iterable[str]) -> Level | None:
        """The highest level that these roles give; None if they give no power."""
        held = set(roles)
        if ADMIN_ROLE in held:
            return "admin"
        if self.support in held:
            return "support"
        return "auditor" if self.auditor in held else None

    def over(self, roles: Iterable[str]) -> bool:
        """Whether somebody with these roles has power over others."""
        return not self.guarded.isdisjoint(roles)


def reaches(held: Level | None, needed: Level) -> bool:
    """Whether a level is enough where `needed` is asked for."""
    return held is not None and _ORDER.index(held) >= _ORDER.index(needed)
