"""The index of locked accounts, `index:locked`: their subs, each with the time at which the lock ends.

An entry is written with the guess that locks the account. The lock itself is in the attempt windows, which every reader
looks at.
"""

from authsvc.driver.connection import Connection
from authsvc.store import keys

# ARGV: now, and for an account the end of its lock, its sub, and the end of its lock in ms.
_ENTER = b"""#!lua flags=allow-oom
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
if #ARGV > 1 then
  redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[3])
  redis.call('PEXPIREAT', KEYS[1], ARGV[4], 'NX')
  redis.call('PEXPIREAT', KEYS[1], ARGV[4], 'GT')
end
return 0
"""


class Locked:
    """Reads and writes the index. Methods raise StoreUnavailable."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def enter(self, sub: str | None, until: int, now: float) -> None:
        """Enter an account. None: nobody has the guessed name, and then this takes as long."""
        account = () if sub is None else (until, sub, until * 1000)
        await self._connection.call("EVAL", _ENTER, 1, keys.LOCKED_INDEX, int(now), *account)

    async def leave(self, sub: str) -> None:
        await self._connection.call("ZREM", keys.LOCKED_INDEX, sub)

    async def read(self, now: float, *, skip: int, limit: int) -> list[str]:
        """The subs of locked accounts, the shortest lock first."""
        found = await self._connection.call(
            "ZRANGE", keys.LOCKED_INDEX, f"({int(now)}", "+inf", "BYSCORE", "LIMIT", skip, limit
        )
        return [sub.decode() for sub in found]
