"""Patches with which a worker gives remembered answers that may be stale."""

from collections.abc import Sequence

from chaos.variation import Patch

_FILE = "store/memory.py"

# An answer that fitted is given for 100 ms without a comparison.
KEPT_FOR_100_MS = (
    Patch(_FILE, "    used: bool = False\n", "    used: bool = False\n    fitted: float = 0.0\n"),
    Patch(
        _FILE,
        "    def fits(self, moment: Moment, now: float) -> bool:",
        "    def _fits(self, moment: Moment, now: float) -> bool:",
    ),
    Patch(
        _FILE,
        "    @property\n    def size(self)",
        "    def fits(self, moment: Moment, now: float) -> bool:\n"
        "        if now - self.fitted >= 0.1:\n"
        "            self.fitted = now if self._fits(moment, now) else 0.0\n"
        "        return self.fitted != 0.0\n\n"
        "    @property\n    def size(self)",
    ),
)
# Nothing is compared at all.
NEVER_COMPARED = (
    Patch(_FILE, "            and values.get(self.session_key) == self.session\n", ""),
    Patch(_FILE, "            and values.get(self.user_key) == self.user\n", ""),
    Patch(_FILE, "            and moment.values(self.shared) == self.shared_values\n", ""),
)

_SHARED = "moment.values(self.shared) == self.shared_values"
# Each record, and the comparison without it.
_COMPARED = {
    "session": ("            and values.get(self.session_key) == self.session\n", ""),
    "user": ("            and values.get(self.user_key) == self.user\n", ""),
    "service": (_SHARED, "moment.values(self.shared)[1:] == self.shared_values[1:]"),
    "client": (_SHARED, "moment.values(self.shared)[::2] == self.shared_values[::2]"),
    "asking client": (_SHARED, "moment.values(self.shared)[:2] == self.shared_values[:2]"),
}
RECORDS = tuple(_COMPARED)


def not_compared(record: str) -> Sequence[Patch]:
    """The worker compares the bytes of the other four records only."""
    return (Patch(_FILE, *_COMPARED[record]),)
