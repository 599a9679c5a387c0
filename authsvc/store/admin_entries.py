"""Writing the index of admins, `admins:index`: a sorted set of `user:<sub>` and `client:<client_id>`.

The score of an entry is the time at which it was entered.
"""

import time
from collections.abc import Sequence

from authsvc.driver.connection import Connection
from authsvc.store import keys

# An entry is older than this when it is dropped. Before that, its record may not have been written yet.
SETTLED_S = 60

# A score below the limit is raised to it, and the entry goes. A score above the limit stays, and so does the entry.
_DROP = b"""#!lua flags=allow-oom
for i = 2, #ARGV do
  if redis.call('ZADD', KEYS[1], 'XX', 'GT', 'CH', ARGV[1], ARGV[i]) == 1 then
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return 0
"""


async def enter(connection: Connection, entries: Sequence[str]) -> None:
    """Enter admins, or make their entries new."""
    now = int(time.time())  # the age of entries decides nothing, so that it needs no clock that tests move
    await connection.call("ZADD", keys.ADMINS, *(word for entry in entries for word in (now, entry)))


async def drop(connection: Connection, entries: Sequence[str]) -> None:
    """Remove entries whose records give no power, unless they are new."""
    if entries:
        await connection.call("EVAL", _DROP, 1, keys.ADMINS, int(time.time()) - SETTLED_S, *entries)
