"""Which commands and keys the store's ACL denies, tried without any effect.

A server checks the rights of each command of a transaction when it queues the command. The transaction here begins with
a malformed command, so the server never applies it. The connection is closed afterwards.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, NoPermissionError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from authsvc.driver.errors import denied_command
from authsvc.driver.redis_py import pack
from authsvc.driver.scripts import Command

_MALFORMED: Command = ("GET",)


async def denied(
    connection: AbstractConnection, commands: Mapping[str, Command], patterns: Mapping[str, Command]
) -> list[str]:
    """The names of what is denied. patterns: for each pattern of keys a command that uses such a key."""
    try:
        await connection.connect()
    except (NoPermissionError, RedisConnectionError) as error:  # the commands with which a connection begins
        right = denied_command(error)
        if right is None:
            raise
        return [right]
    try:
        return await _try(connection, commands, patterns)
    except BusyLoadingError:  # the server says this of nearly every command, and redis-py closes the connection
        return []


async def _try(
    connection: AbstractConnection, commands: Mapping[str, Command], patterns: Mapping[str, Command]
) -> list[str]:
    begun, _ = await _exchange(connection, [("MULTI",), _MALFORMED])
    if begun != b"OK":  # nothing else may be tried: the server would apply it
        return ["multi"] if denied_command(begun) is not None else []
    *replies, ended = await _exchange(connection, [*commands.values(), *patterns.values(), ("EXEC",)])
    of_commands, of_patterns = replies[: len(commands)], replies[len(commands) :]
    return [
        *(name for name, reply in zip(commands, of_commands, strict=True) if denied_command(reply) is not None),
        *(["exec"] if denied_command(ended) is not None else []),
        *(name for name, reply in zip(patterns, of_patterns, strict=True) if _denies_key(reply)),
    ]


def _denies_key(reply: object) -> bool:
    return isinstance(reply, NoPermissionError) and denied_command(reply) is None


async def _exchange(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    await connection.send_packed_command(b"".join(map(pack, commands)), check_health=False)
    replies: list[Any] = []
    while len(replies) < len(commands):
        try:
            replies.append(await connection.read_response())
        except ResponseError as refusal:
            replies.append(refusal)
    return replies
