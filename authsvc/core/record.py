"""What every stored record has in common: it is frozen, compact JSON, and knows when it ends.

msgspec rather than pydantic: records are parsed for every token that is looked up, and it takes a quarter of the time.
"""

from typing import Any, Self

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A value in the store. Transitions make a new record; nothing is changed in place.

    Fields at their defaults are left out of the JSON: a million sessions pay for every byte.
    """

    def expires_at(self) -> int | None:
        """Epoch seconds at which the store may drop the record; None: never."""
        return None

    def but(self, **changes: Any) -> Self:
        """The same record with some fields replaced."""
        return msgspec.structs.replace(self, **changes)

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)


def raised(epoch: int, now: float) -> int:
    """The next epoch: above the last one, and at least the present in milliseconds.

    The present is what keeps a record that was deleted and made again from reviving old sessions.
    """
    return max(epoch + 1, int(now * 1000))


class Service(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The service-wide cut-off. `epoch`: milliseconds."""

    epoch: int

    def cut_off(self, now: float) -> Self:
        """The service after every session begun so far has ended."""
        return self.but(epoch=raised(self.epoch, now))
