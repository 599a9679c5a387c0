"""The errors of redis-py: which of them tell that the store is unavailable, and their kinds for the metric."""

import re

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

# A call to redis-py raises one of these when it gets no answer, or a refusal.
DRIVER_ERRORS = (RedisError, OSError, TimeoutError)

# Replies that say to go to another node of a cluster, or to come again.
REDIRECTIONS = (MovedError, AskError, TryAgainError, ClusterDownError)

# Redis 7.0 to Valkey 9.1 word it a little differently each. The refusal of a key has other texts.
_COMMAND = re.compile(r"to run the '([a-z|]+)'")


class NotPrimary(RedisConnectionError):
    """The server is a replica. A replica may lag: a revoked token would still be alive there."""


def denied_command(error: object) -> str | None:
    """The command in a refusal, as an ACL names it. None: the error is no refusal of a command.

    redis-py wraps the refusal of a command with which a connection begins. A server wraps the one of EXEC.
    """
    refusal = error.__cause__ if isinstance(error, RedisConnectionError) else error
    found = _COMMAND.search(str(refusal).lower()) if isinstance(refusal, ResponseError) else None
    return found and found[1]


def first_word(error: Exception) -> str:
    """The code of an error, such as READONLY, OOM or LOADING. The rest of its text may quote the command."""
    return str(error).partition(" ")[0] if isinstance(error, RedisError) else ""


# The first kind that fits counts: some of these errors are subclasses of others.
_KINDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (NotPrimary, "not_primary"),
    ((ReadOnlyError, MasterDownError), "read_only"),
    (OutOfMemoryError, "full"),
    (BusyLoadingError, "loading"),
    ((AuthenticationError, NoPermissionError), "denied"),
    ((RedisTimeoutError, TimeoutError), "timeout"),
    ((RedisConnectionError, OSError), "connection"),
    (ResponseError, "refused"),
)


def kind_of(error: Exception) -> str:
    """The label of the error in the metric of store errors."""
    return next((kind for errors, kind in _KINDS if isinstance(error, errors)), "other")
