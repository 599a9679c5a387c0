"""The contents of the store and the commands that it executed, read by a plain connection beside the service."""

from collections.abc import Iterator

import redis

# Commands of the tests and of connecting, which are not the service's.
_OURS = {"info", "config", "hello", "client", "auth", "select", "ping", "command", "role", "replconf", "psync"}

# Keys without a TTL. Every other key has a TTL when it is written.
LASTING = (
    *(b"user:", b"login:", b"credentials:", b"factors:", b"passkey:", b"client:", b"service", b"admins:"),
    *(b"index:users", b"index:filled"),
)


def keys(valkey: "redis.Redis") -> set[bytes]:
    return set(valkey.scan_iter(count=1000))


def expires_at_ms(valkey: "redis.Redis", name: bytes) -> int:
    """-1: never."""
    at: int = valkey.execute_command("PEXPIRETIME", name)
    return at


def without_ttl(valkey: "redis.Redis") -> set[bytes]:
    """The keys that never expire although they are none of the lasting ones."""
    return {name for name in keys(valkey) if not name.startswith(LASTING) and expires_at_ms(valkey, name) == -1}


def lasting_with_ttl(valkey: "redis.Redis") -> set[bytes]:
    """The keys that should last and would expire."""
    return {name for name in keys(valkey) if name.startswith(LASTING) and expires_at_ms(valkey, name) != -1}


def expire(valkey: "redis.Redis", now: float) -> None:
    """Do what the store would have done by itself, had the test's clock been its own."""
    for name in keys(valkey):
        at = expires_at_ms(valkey, name)
        if 0 < at <= now * 1000:
            valkey.delete(name)


def texts(valkey: "redis.Redis") -> Iterator[bytes]:
    """Every key and every value in it, as an attacker with a copy of the store would read them."""
    for name in keys(valkey):
        yield name
        match valkey.type(name):
            case b"string":
                yield repr(valkey.get(name)).encode()
            case b"zset":
                yield repr(valkey.zrange(name, 0, -1)).encode()
            case b"stream":
                yield repr(valkey.xrange(name)).encode()
            case other:
                raise AssertionError(f"{name!r} is a {other!r}: nobody knows what is in it")


class Commands:
    """Counts the commands that the store has executed since it was made, without those of looking."""

    def __init__(self, valkey: "redis.Redis") -> None:
        self._valkey = valkey
        self.reset()

    def reset(self) -> None:
        self._valkey.config_resetstat()

    def seen(self) -> dict[str, int]:
        stats: dict[str, dict[str, int]] = self._valkey.info("commandstats")
        counts = {name.removeprefix("cmdstat_").partition("|")[0]: stat["calls"] for name, stat in stats.items()}
        return {name: calls for name, calls in sorted(counts.items()) if name not in _OURS}
