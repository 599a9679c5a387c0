"""The roles of another system under the names that they have here."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from authsvc.core.user import check_roles
from authsvc.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class RoleNames:
    """`renamed`: from the name there to the name here. none: leave all roles out."""

    renamed: Mapping[str, str]
    none: bool = False

    @classmethod
    def of(cls, pairs: Iterable[str], *, none: bool) -> "RoleNames":
        """Read texts such as `Content editor=content-editor`. Raises InvalidRequest."""
        renamed = {}
        for pair in pairs:
            theirs, sign, ours = pair.rpartition("=")
            if not sign or not theirs.strip():
                raise InvalidRequest("--role: write THEIRS=OURS")
            check_roles((ours,))
            renamed[theirs.strip()] = ours
        return cls(renamed, none)

    def translated(self, roles: Any) -> Any:
        """The roles of a row: a list, or the text of a table. A name to translate may have spaces in it."""
        if self.none:
            return None
        if isinstance(roles, list):
            return [self.renamed.get(role, role) if isinstance(role, str) else role for role in roles]
        if not isinstance(roles, str) or not self.renamed:
            return roles
        parts = re.split("[,;]", roles)
        return ",".join(self.renamed.get(part.strip()) or self._words(part) for part in parts)

    def _words(self, part: str) -> str:
        return ",".join(self.renamed.get(word, word) for word in part.split())
