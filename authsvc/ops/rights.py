"""The rights that the service needs in the store: a command for each, with which it is tried.

The driver tries them in a transaction that is never applied. The commands would change no record even if it were: they
name keys that no record has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from authsvc.core.durability import DurabilityLevel
from authsvc.driver.scripts import Command

_KEY = "throttle:rights"
_SCRIPT = "return 0"

_ALWAYS: Mapping[str, Command] = {
    "get": ("GET", _KEY),
    "mget": ("MGET", _KEY),
    "set": ("SET", _KEY, "", "EX", 1),
    "msetnx": ("MSETNX", _KEY, ""),
    "del": ("DEL", _KEY),
    "exists": ("EXISTS", _KEY),
    "persist": ("PERSIST", _KEY),
    "pttl": ("PTTL", _KEY),
    "expire": ("EXPIRE", _KEY, 1),
    "pexpireat": ("PEXPIREAT", _KEY, 1),
    "eval": ("EVAL", _SCRIPT, 1, _KEY),
    "scan": ("SCAN", 0, "COUNT", 1),
    "zadd": ("ZADD", _KEY, "XX", 1, "none"),
    "zrem": ("ZREM", _KEY, "none"),
    "zrange": ("ZRANGE", _KEY, 0, 0),
    "zremrangebyscore": ("ZREMRANGEBYSCORE", _KEY, 0, 0),
    "zcard": ("ZCARD", _KEY),
    "zscore": ("ZSCORE", _KEY, "none"),
    "xadd": ("XADD", _KEY, "NOMKSTREAM", "*", "none", ""),
    "xrevrange": ("XREVRANGE", _KEY, "+", "-", "COUNT", 1),
    "xtrim": ("XTRIM", _KEY, "MAXLEN", 0),
    "role": ("ROLE",),
    "client|setname": ("CLIENT", "SETNAME", "authsvc"),
    "client|tracking": ("CLIENT", "TRACKING", "OFF"),
}
_NUMBERED: Mapping[str, Command] = {"select": ("SELECT", 0)}
_REPLICA: Mapping[str, Command] = {"wait": ("WAIT", 0, 1)}
_DISK: Mapping[str, Command] = {"waitaof": ("WAITAOF", 0, 0, 1)}
_CLUSTER: Mapping[str, Command] = {
    "asking": ("ASKING",),
    "cluster|slots": ("CLUSTER", "SLOTS"),
    "cluster|shards": ("CLUSTER", "SHARDS"),
    "cluster|myid": ("CLUSTER", "MYID"),
}
# Without these the service works, and knows less about the store.
_USEFUL: Mapping[str, Command] = {
    "info": ("INFO", "server"),
    "time": ("TIME",),
    "ping": ("PING",),
    "client|id": ("CLIENT", "ID"),
    "client|setinfo": ("CLIENT", "SETINFO", "LIB-NAME", "authsvc"),
    "acl|whoami": ("ACL", "WHOAMI"),
    "acl|dryrun": ("ACL", "DRYRUN", "default", "PING"),
}
# MULTI and EXEC are tried by the transaction itself. HELLO and AUTH can't be denied.


@dataclass(frozen=True, slots=True)
class Rights:
    """What to try. commands: by their names in an ACL. patterns: of keys, as in an ACL."""

    commands: Mapping[str, Command]
    patterns: Mapping[str, Command]


def needed(
    patterns: Sequence[str], durability: DurabilityLevel, *, clustered: bool = False, numbered: bool = False
) -> Rights:
    """The rights without which some call of the service fails.

    patterns: of all keys. numbered: whether the URL names another database than 0.
    """
    commands = {**_ALWAYS}
    commands |= _NUMBERED if numbered else {}
    commands |= _REPLICA if durability == "replica" else {}
    commands |= _DISK if durability == "disk" else {}
    commands |= _CLUSTER if clustered else {}
    # EVAL needs the right to read and to write its keys.
    keys: dict[str, Command] = {f"~{one}": ("EVAL", _SCRIPT, 1, one.replace("*", "{rights}")) for one in patterns}
    return Rights(commands, keys)


USEFUL = Rights(_USEFUL, {})
