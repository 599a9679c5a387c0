"""Commands, and the scripts that change records: compare-and-swap, and a delete that replicas can confirm."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

# The words of one command.
Command = tuple[str | bytes | int, ...]

# ARGV holds three values for each key: the value it must have, the value it gets, and when that expires. That is a time
# in ms, or '+' and a number of ms from now, or ''. '' as a value stands for an absent key.
#
# Every new value is unique. If the key already holds it, this very swap was applied and its reply got lost.
# Such a swap writes once more, because WAIT counts only writes of its own connection. It writes the new value again, or
# sets the absent key and deletes it.
#
# allow-oom: a swap replaces or deletes, and revoking has to work in a full store.
SWAP = b"""#!lua flags=allow-oom
local applied, unchanged = true, true
for i, key in ipairs(KEYS) do
  local held = redis.call('GET', key) or ''
  if held ~= ARGV[3*i-1] then applied = false end
  if held ~= ARGV[3*i-2] then unchanged = false end
end
if not (applied or unchanged) then return 0 end
for i, key in ipairs(KEYS) do
  local new, expiry = ARGV[3*i-1], ARGV[3*i]
  if new == '' then
    redis.call('SET', key, '')
    redis.call('DEL', key)
  elseif expiry == '' then redis.call('SET', key, new)
  elseif string.sub(expiry, 1, 1) == '+' then redis.call('SET', key, new, 'PX', string.sub(expiry, 2))
  else redis.call('SET', key, new, 'PXAT', expiry) end
end
return 1
"""

# DEL that writes even if the keys are already gone, for the same reason.
DELETE = b"""#!lua flags=allow-oom
local deleted = redis.call('DEL', unpack(KEYS))
if deleted == 0 then
  redis.call('SET', KEYS[1], '')
  redis.call('DEL', KEYS[1])
end
return deleted
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One key of a swap. `old` and `new` are whole records, b'' for absent.

    expires_at: in epoch seconds. lives_s: how long from now, by the store's own clock. At most one of them is given.
    """

    key: str
    old: bytes
    new: bytes
    expires_at: int | None = None
    lives_s: float | None = None

    @property
    def expiry(self) -> str:
        if self.lives_s is not None:
            return f"+{max(int(self.lives_s * 1000), 1)}"
        return "" if self.expires_at is None else str(self.expires_at * 1000)


def swap_command(changes: Sequence[Change]) -> Command:
    """The command that makes all of these changes, or none if one of the old values is not there."""
    arguments: list[str | bytes | int] = []
    for change in changes:
        arguments += (change.old, change.new, change.expiry)
    return ("EVAL", SWAP, len(changes), *(change.key for change in changes), *arguments)


def delete_command(keys: Sequence[str]) -> Command:
    """The command that deletes these keys and always writes."""
    return ("EVAL", DELETE, len(keys), *keys)


def key_of(command: Command) -> str:
    """The key that says where a command goes. All other keys of the command are on the same hash slot."""
    return str(command[3] if command[0] == "EVAL" else command[1])


def stamped(json: bytes) -> bytes:
    """A record's JSON with a write id, so that two writes of equal records differ in their bytes."""
    members = json[:-1] + b"," if len(json) > len(b"{}") else b"{"
    return b'%s"w":"%s"}' % (members, secrets.token_urlsafe(6).encode())
