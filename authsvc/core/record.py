"""The base of every stored record: frozen, compact JSON, with a format and an expiry.

msgspec rather than pydantic: every lookup of a token parses records, and msgspec takes a quarter of the time.
"""

from typing import Annotated, Any, ClassVar, Self

import msgspec

# The newest format of records that this version understands. Raise it with a field that an older version must not
# ignore: see `Record.needs_format` and docs/decisions/013-two-versions-share-a-store.md.
FORMAT = 3
Format = Annotated[int, msgspec.Meta(ge=1, le=FORMAT)]

# Where `Part.unknown` stands in the JSON while a record is being encoded; it is never stored under this name.
UNKNOWN = "?"


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record, or an object inside a record. Transitions make a new one; nothing is changed in place.

    Fields at their defaults are left out of the JSON: a million sessions pay for every byte.

    unknown: the members that only a newer version knows. A change reads them, and `but` takes them along, so that the
    record is written with them. None after reading for any other purpose.
    """

    # The fields that no representation shows. A newer version may keep secrets among the members unknown here.
    hidden: ClassVar[frozenset[str]] = frozenset({"unknown"})

    unknown: dict[str, Any] | None = msgspec.field(default=None, name=UNKNOWN)

    def __repr__(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in self.hidden]
        return f"{type(self).__name__}({', '.join(shown)})"

    def but(self, **changes: Any) -> Self:
        """The same value with some fields replaced."""
        return msgspec.structs.replace(self, **changes)


class Record(Part, frozen=True, kw_only=True, omit_defaults=True):
    """A value in the store. v: its format; decoding refuses a newer one than this version understands."""

    v: Format = 1

    def needs_format(self) -> int:
        """The oldest format whose versions understand everything in this record that nobody may ignore.

        A record with such a field overrides this, for example `return 2 if self.jkt else 1`.
        """
        return 1

    def admin_entry(self) -> str | None:
        """The entry of this record in the index of admins; None if the record gives no power over others."""
        return None

    def expires_at(self) -> int | None:
        """Epoch seconds at which the store may drop the record; None: never."""
        return None

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)


def raised(epoch: int, now: float) -> int:
    """The next epoch: above the last one, and at least the present in milliseconds.

    The present keeps a record that was deleted and made again from reviving old sessions.
    """
    return max(epoch + 1, int(now * 1000))


class Service(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The service-wide cut-off, and the store's format. `epoch`: milliseconds.

    store_format: the newest format that a record may be written in. A new store has the format of the version that made
    it. Only an operator raises it, once every worker understands that format.

    hash_forms: the forms of the imported hashes in use (`core/hash_form.py`), the costliest of each algorithm. A login
    has to know all of them: every refusal takes as long as the costliest form.

    factor_keys: the ids of the factor keys that records need. A worker without one of them could not check their codes.
    forms_counted_at: when a worker last began to count the forms in all credentials. Epoch seconds; 0 is never.
    """

    epoch: int
    store_format: int = 1
    hash_forms: tuple[str, ...] = ()
    forms_counted_at: int = 0
    factor_keys: tuple[str, ...] = ()

    def cut_off(self, now: float) -> Self:
        """The service after every session begun so far has ended."""
        return self.but(epoch=raised(self.epoch, now))

    def with_format(self, store_format: int) -> Self:
        """The service after an operator has raised the store's format; the format never falls."""
        return self.but(store_format=max(self.store_format, store_format))

    def with_factor_key(self, key_id: str) -> Self:
        """The service after a record began to need this key."""
        return self if key_id in self.factor_keys else self.but(factor_keys=(*self.factor_keys, key_id))

    def without_factor_keys(self, key_ids: tuple[str, ...]) -> Self:
        """The service after an operator has given these keys up."""
        return self.but(factor_keys=tuple(key_id for key_id in self.factor_keys if key_id not in key_ids))
