"""How long the driver waits for the store."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """All times are in seconds. The defaults fit a store in the same data centre; most tests are more patient."""

    # All calls of one request together. A request with a password hash is then answered within 1.5 s.
    request_s: float = 0.8
    # An attempt at a secret: for its turn, and for the results of others. A full queue of hashes takes that long.
    attempt_s: float = 1.2
    # One call: waiting for a connection, connecting, sending, and one retry.
    call_s: float = 1.0
    # The replies of one round trip.
    reply_s: float = 0.5
    # Connecting to a server.
    connect_s: float = 0.5
    # Waiting for a free connection of the pool.
    pool_s: float = 0.5
    # One sentinel. A sentinel that is down must leave time for the next one.
    sentinel_s: float = 0.2
    # The map of a cluster, from one node. After that the next node is asked.
    map_s: float = 0.25
    # Between two checks that a server is still the primary. A server that was replaced may not say so itself.
    watch_s: float = 1.0
    # For how long a server counts as the primary after sentinels or replicas have said so. One check takes `watch_s`,
    # and a second or two more when some of them don't answer.
    vouched_s: float = 5.0
