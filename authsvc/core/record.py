"""What every stored record has in common: it is frozen, compact JSON, and knows when it ends."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A value in the store. Transitions make a new record; nothing is changed in place."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    def expires_at(self) -> int | None:
        """Epoch seconds at which the store may drop the record; None: never."""
        return None

    def but(self, **changes: Any) -> Self:
        """The same record with some fields replaced."""
        return self.model_copy(update=changes)

    def to_json(self) -> bytes:
        # Fields at their defaults are left out: a million sessions pay for every byte.
        return self.model_dump_json(exclude_defaults=True).encode()


def raised(epoch: int, now: float) -> int:
    """The next epoch: above the last one, and at least the present in milliseconds.

    The present is what keeps a record that was deleted and made again from reviving old sessions.
    """
    return max(epoch + 1, int(now * 1000))


class Service(Record):
    """The service-wide cut-off. `epoch`: milliseconds."""

    epoch: int

    def cut_off(self, now: float) -> Self:
        """The service after every session begun so far has ended."""
        return self.but(epoch=raised(self.epoch, now))
