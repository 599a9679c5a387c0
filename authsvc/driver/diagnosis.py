"""Explains an error of redis-py to an operator: where it happened, what is wrong, and what to do."""

import errno
import re
import socket
import ssl
from typing import NamedTuple

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    InvalidResponse,
    MasterDownError,
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from authsvc.driver.errors import NotPrimary, denied_command, first_word
from authsvc.driver.urls import unreadable

_URL = "AUTHSVC_REDIS_URL"
_ATTRIBUTE = "_authsvc_place"
_UNKNOWN_COMMAND = re.compile(r"unknown command ['`]([a-z|]+)['`]")
# X509_V_ERR_…, of OpenSSL's x509_vfy.h.
_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_NAME, _OTHER_ADDRESS = 62, 64
# The remedy if the embedded store does not answer.
_RESTARTED = "Wait: its service starts it again. If it does not come back, look at valkey.log in the data directory"


class Place(NamedTuple):
    """The server with which an error happened. name: its address. connecting: whether the connection was new.

    embedded: whether it is the embedded store. files: the option and the path of each local file of TLS.
    """

    name: str
    tls: bool = False
    socket: bool = False
    connecting: bool = False
    embedded: bool = False
    files: tuple[tuple[str, str], ...] = ()


class Cause(NamedTuple):
    """A fault in words. Both texts quote nothing that a server sent, because it may hold parts of a command."""

    what: str
    todo: str


def locate(error: BaseException, place: Place) -> None:
    """Note where an error happened, unless that is known already."""
    if getattr(error, _ATTRIBUTE, None) is None:
        setattr(error, _ATTRIBUTE, place)


def place_of(error: BaseException) -> Place | None:
    """Where an error happened: the place noted with it, or with an error that led to it."""
    return next((place for one in _chain(error) if (place := getattr(one, _ATTRIBUTE, None)) is not None), None)


def diagnose(error: BaseException) -> Cause:
    """The fault behind an error, and the remedy."""
    place = place_of(error) or Place("the store")
    right = denied_command(error)
    if right is not None:
        return Cause(f"its ACL forbids {right}", "Grant it, as deploy/valkey/users.acl does")
    for one in _chain(error):
        found = _of_tls(one, place) or _of_network(one, place) or _of_server(one)
        if found is not None:
            return found
    return _of_silence(error, place)


def _chain(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _of_tls(error: BaseException, place: Place) -> Cause | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
            return Cause("its certificate is for another name", f"Use the name of the certificate in {_URL}")
        if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
            return Cause("its certificate is not valid today", "Renew it, and look at both clocks")
        return Cause("its certificate is not trusted", f"Name the file of its CA: ssl_ca_certs in {_URL}")
    if isinstance(error, ssl.SSLError):
        if error.library == "X509" or error.library == "PEM":
            files = ", ".join(path for _, path in place.files) or f"the ssl_ options in {_URL}"
            return Cause("a file of the TLS options holds no certificate or key", f"Look at {files}")
        if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING"):
            return Cause("it does not speak TLS at this port", f"Use the TLS port, or redis:// in {_URL}")
        return Cause("the TLS handshake failed", f"Look at the store's log, and at the ssl_ options in {_URL}")
    return None


_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)


def _of_network(error: BaseException, place: Place) -> Cause | None:
    if isinstance(error, socket.gaierror):
        return Cause("no such host", f"Correct the host in {_URL}, or look at the name server")
    if isinstance(error, ConnectionRefusedError):
        return Cause("connection refused", _start(place, f"Start the store, or correct the address in {_URL}"))
    if isinstance(error, FileNotFoundError) and place.socket:
        return Cause("no such socket", _start(place, f"Start the store, or correct the path in {_URL}"))
    if isinstance(error, PermissionError) and place.socket:
        return Cause("this user may not open the socket", "Let the service's user open it")
    if isinstance(error, FileNotFoundError | PermissionError):
        option, why = unreadable(dict(place.files)) or ("an ssl_ option", "it is missing, or may not be read")
        return Cause(
            f"the file of {option} can't be read: {why}",
            f"Put the file there, readable for the service's user, or correct {option} in {_URL}",
        )
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return Cause("no way to this host", "Look at the network and its firewalls")
    return None


def _start(place: Place, configured: str) -> str:
    """The remedy for a store that does not run. configured: the remedy if the settings name the store."""
    return _RESTARTED if place.embedded else configured


def _of_server(error: BaseException) -> Cause | None:
    if not isinstance(error, RedisError):
        return None
    text = str(error).lower()
    for kinds, words, cause in _ANSWERS:
        if isinstance(error, kinds) and words in text:
            return cause
    unknown = _UNKNOWN_COMMAND.search(text)
    if unknown is not None and unknown[1] == "sentinel":
        return Cause("it is no sentinel", f"Name the sentinels in {_URL}, or use redis:// for a server")
    if unknown is not None:
        return Cause(f"it does not know the command {unknown[1]}", "Use Redis 7.0, Valkey 7.2 or newer")
    return None


_FULL_DISK = Cause("it cannot write to its disk, and so takes no writes", "Make room on its disk, and look at its log")
# The first line that fits: the class of the error, and words in its text. Some classes are subclasses of others.
_ANSWERS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str, Cause], ...] = (
    (MasterNotFoundError, "", Cause("no sentinel names a primary", f"Look at the sentinels, and at {_URL}: their "
        "addresses, their password, the name of the primary")),
    (AuthenticationError, "invalid username", Cause("wrong password, or no such user", f"Correct them in {_URL}, or "
        "make the user: deploy/valkey/users.acl")),
    (AuthenticationError, "", Cause("it wants a password", f"Put the user and the password into {_URL}")),
    (RedisError, "db index is out of range", Cause("no such database", f"Correct the number in {_URL}")),
    (RedisError, "protected mode", Cause("it takes connections of its own machine only", "Set a password there, "
        "and `protected-mode no`")),
    (RedisError, "max number of clients", Cause("it has too many connections", "Raise maxclients there")),
    (RedisError, "cluster support disabled", Cause("it is no cluster", f"Use redis:// in {_URL}")),
    (MovedError, "", Cause("it is a node of a cluster", f"Use redis+cluster:// in {_URL}")),
    (ClusterDownError, "", Cause("some slots have no server", f"Look at CLUSTER INFO; for a cluster, use "
        f"redis+cluster:// in {_URL}")),
    (NotPrimary, "", Cause("it is a replica", f"Wait for the failover to end, or name the primary in {_URL}")),
    ((ReadOnlyError, MasterDownError), "", Cause("it is a replica", "Wait for the failover to end")),
    (BusyLoadingError, "", Cause("it is loading its data", "Wait")),
    (RedisError, "used memory", Cause("it is full", "Raise maxmemory there, or give it more memory")),
    (NoPermissionError, "", Cause("its ACL forbids a key or a channel", "Grant it, as deploy/valkey/users.acl does")),
    (RedisError, "misconf", _FULL_DISK),
    (InvalidResponse, "", Cause("it is no Redis or Valkey", f"Correct host and port in {_URL}")),
)  # fmt: skip


def _of_silence(error: BaseException, place: Place) -> Cause:
    """The cause of an error that names none: the server closed the connection, or did not answer."""
    if isinstance(error, RedisTimeoutError | TimeoutError):
        tls = f". If it does not speak TLS, use redis:// in {_URL}" if place.tls and place.connecting else ""
        todo = f"See whether the store runs, and whether a firewall is between{tls}"
        return Cause("no answer in time", _start(place, todo))
    if place.connecting and not place.tls and not place.socket:
        return Cause("it closes new connections", f"If it speaks TLS, use rediss:// in {_URL}; else look at its log")
    if isinstance(error, RedisConnectionError | OSError):
        return Cause("the connection was lost", _start(place, "See whether the store runs, and look at its log"))
    word = first_word(error) if isinstance(error, Exception) else ""
    return Cause(f"{type(error).__name__} {word}".strip(), "Look at the store's log")
