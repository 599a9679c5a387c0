"""Reads the URL of a store: the servers, the topology, and how to connect."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.asyncio.connection import parse_url

from authsvc.core.address import in_url
from authsvc.errors import StartupError

Shape = Literal["server", "sentinel", "cluster"]
# A host and a port.
HostPort = tuple[str, int]

SCHEMES = "redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"

_PORTS: dict[Shape, int] = {"server": 6379, "sentinel": 26379, "cluster": 6379}
# redis-py takes more options from a URL: timeouts, retries, pool sizes. The driver chooses these itself.
_OPTIONS = {"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"}
# The options that name a file of this machine.
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL_OPTIONS = {"sentinel_username": "username", "sentinel_password": "password"}
# Whether the sentinels are asked over TLS, if that differs from the store.
_SENTINEL_TLS = "sentinel_tls"
_ANSWERS = {"yes": True, "no": False}
_NUMBER = re.compile("[0-9]{1,9}")
_NO_NUMBER = "the database must be a number"


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """hosts: the servers or sentinels to ask first; none for a Unix socket. options: redis-py's, for a connection.

    sentinel_options: the same for connections to sentinels. service: the name of the primary among the sentinels.
    embedded: the store is the embedded one, which its service starts again by itself.
    """

    shape: Shape
    hosts: tuple[HostPort, ...]
    options: dict[str, Any] = field(repr=False)
    sentinel_options: dict[str, Any] = field(repr=False)
    service: str
    embedded: bool = False

    @classmethod
    def parse(cls, url: str) -> "StoreUrl":
        """Raises StartupError. Its text quotes nothing of the URL, which may hold a password."""
        try:
            return _parse(url)
        except ValueError as error:
            reason = str(error) if isinstance(error, _Wrong) else f"it is not one of {SCHEMES}"
            raise StartupError(reason, "AUTHSVC_REDIS_URL") from None

    @property
    def where(self) -> str:
        """The store in words, without credentials: `127.0.0.1:6379, database 0`."""
        hosts = ", ".join(f"{in_url(host)}:{port}" for host, port in self.hosts)
        if self.embedded:
            return f"the embedded Valkey at {self.options['path']}"
        if self.shape == "cluster":
            return f"the cluster of {hosts}"
        name = f"{self.service} of the sentinels {hosts}" if self.shape == "sentinel" else hosts
        return f"{name or self.options['path']}, database {self.options.get('db', 0)}"

    def refuse_unreadable_files(self) -> None:
        """Raise StartupError if a file of the TLS options can't be read."""
        options = self.options | self.sentinel_options
        found = unreadable({name: options[name] for name in _FILES if name in options})
        if found is not None:
            option, why = found
            raise StartupError(f"the file of {option} can't be read: {why}", "AUTHSVC_REDIS_URL")


def unreadable(files: Mapping[str, str]) -> tuple[str, str] | None:
    """The first option whose file can't be read, and its path with the reason. files: the paths by their options."""
    for option, path in files.items():
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            return option, f"{path}: {(error.strerror or 'an error').lower()}"
    return None


class _Wrong(ValueError):
    """A mistake that can be named without quoting the URL."""


def _parse(url: str) -> StoreUrl:
    scheme, _, rest = url.partition("://")
    tls, _, kind = scheme.partition("+")
    shape: Shape = "server" if kind == "" else "sentinel" if kind == "sentinel" else "cluster"
    if kind not in ("", "sentinel", "cluster") or (kind and tls == "unix"):
        raise _Wrong(f"it is not one of {SCHEMES}")
    # URL parsers take one host only, so each host of the list is put into a URL of its own.
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    given = dict(parse_qsl(query, keep_blank_values=True))
    sentinel_options = _sentinel_options(given, shape)
    sentinels_by_tls = _sentinels_by_tls(given, shape, tls == "rediss")
    if not given.keys() <= _OPTIONS:
        # The option is not named: it may be the rest of a password with a question mark.
        raise _Wrong(
            f"its only options are {', '.join(sorted(_OPTIONS))}, the sentinels' credentials and {_SENTINEL_TLS}"
        )
    if tls != "rediss" and not sentinels_by_tls and any(name.startswith("ssl_") for name in given):
        raise _Wrong("the ssl_ options need rediss://")
    if not _NUMBER.fullmatch(given.get("db", "0")):
        raise _Wrong(_NO_NUMBER)
    if tls == "unix" and not path:
        raise _Wrong("it lacks the path of the socket: unix:///path")
    service, database = _path(path, shape) if tls != "unix" else ("", f"/{path}")
    # TLS for one of the two only: its options are read as those of a TLS URL, and then taken from the other.
    read_as = "rediss" if sentinels_by_tls else tls
    made = parse_url(f"{read_as}://{credentials}{at}{'' if tls == 'unix' else 'host'}{database}?{urlencode(given)}")
    options: dict[str, Any] = {name: value for name, value in made.items() if name != "host"}
    theirs = _tls(options) if sentinels_by_tls else {}
    if read_as != tls:
        options = {name: value for name, value in options.items() if name not in theirs}
    if shape == "cluster" and options.get("db"):
        raise _Wrong("a cluster has no databases")
    addresses = () if tls == "unix" else tuple(_address(host, _PORTS[shape]) for host in hosts.split(","))
    return StoreUrl(shape, addresses, options, theirs | sentinel_options, service)


def _sentinel_options(given: dict[str, str], shape: Shape) -> dict[str, str]:
    found = {theirs: given.pop(ours) for ours, theirs in _SENTINEL_OPTIONS.items() if ours in given}
    if found and shape != "sentinel":
        raise _Wrong("it has credentials for sentinels, but no sentinels")
    return found


def _sentinels_by_tls(given: dict[str, str], shape: Shape, default: bool) -> bool:
    answer = given.pop(_SENTINEL_TLS, None)
    if shape != "sentinel":
        if answer is not None:
            raise _Wrong("it has an option for sentinels, but no sentinels")
        return False
    if answer is not None and answer not in _ANSWERS:
        raise _Wrong(f"{_SENTINEL_TLS} must be yes or no")
    return default if answer is None else _ANSWERS[answer]


def _path(path: str, shape: Shape) -> tuple[str, str]:
    """The service's name, and the database as a path."""
    service, database = "", path
    if shape == "sentinel":
        service, _, database = path.partition("/")
        if not service:
            raise _Wrong("it lacks the sentinels' name for the primary: redis+sentinel://host:port/name")
    if database and not _NUMBER.fullmatch(database):
        raise _Wrong(_NO_NUMBER)
    return unquote(service), f"/{database}" if database else ""


def _address(host: str, port: int) -> HostPort:
    try:
        split = urlsplit(f"//{host}")
        name, port = split.hostname or "localhost", split.port or port
        name.encode("idna")  # as a look-up does; it takes no empty part, and none over 63 characters
    except ValueError:
        raise _Wrong("no such host, or no such port: write host:port, and an IPv6 address in brackets") from None
    return name, port


def _tls(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name.startswith("ssl_") or name == "connection_class"}
