"""The settings of an introspector."""

import re
import ssl
from dataclasses import dataclass, field
from math import inf
from types import UnionType
from typing import TypedDict
from urllib.parse import urlsplit

import httpx


class Settings(TypedDict, total=False):
    """The settings of `Config` that an introspector takes by keyword, for type checkers."""

    timeout_s: float
    audience: str | None
    tls: ssl.SSLContext | None
    foreign_key_prefixes: tuple[str, ...]
    cache: bool
    cache_size: int
    cache_max_age_s: float
    feed_silence_s: float
    serve_stale_for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings with their defaults.

    url, client_id, client_secret: the service and our client there. The client needs the permission `introspect`.
    timeout_s: the longest time that one check takes, retry included.
    audience: refuse tokens whose `aud` does not name it.
    tls: for a CA of your own or a client certificate.
    foreign_key_prefixes: how keys begin that another system issued: the service's AUTHSVC_FOREIGN_KEY_PREFIXES.

    cache: keep answers in this process and drop them when the service announces a change.
    cache_size, cache_max_age_s: how many answers the cache keeps, and how long it keeps each of them.
    feed_silence_s: how long after its last confirmation the cache may answer. A revocation stays unnoticed no longer.
    serve_stale_for_s: how long old answers bridge an outage of the service. A revocation made during the outage stays
    unnoticed as long.
    """

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    timeout_s: float = 3.0
    audience: str | None = None
    tls: ssl.SSLContext | None = None
    foreign_key_prefixes: tuple[str, ...] = ()
    cache: bool = False
    cache_size: int = 100_000
    cache_max_age_s: float = 300.0
    feed_silence_s: float = 2.0
    serve_stale_for_s: float = 0.0

    def __post_init__(self) -> None:
        _check_types(self)
        _check_url(self.url)
        if not self.client_id or not self.client_secret:
            raise ValueError("client_id and client_secret: required")
        if self.audience == "" or "" in self.foreign_key_prefixes:
            raise ValueError("audience, foreign_key_prefixes: must not be empty strings")
        if not (0 < self.timeout_s < inf and self.cache_size >= 1 and self.cache_max_age_s > 0):
            raise ValueError("timeout_s, cache_size, cache_max_age_s: have to be above 0, and timeout_s finite")
        if not self.feed_silence_s > 1:
            raise ValueError("feed_silence_s: has to be above 1, because the service sends one heartbeat a second")
        if not self.serve_stale_for_s >= 0 or (self.serve_stale_for_s and not self.cache):
            raise ValueError("serve_stale_for_s: has to be 0 or more, and needs cache=True")


def _check_types(config: Config) -> None:
    """Refuse values of the wrong type, which would fail later or change the meaning: `tls=False` disables TLS checks.

    Raises TypeError.
    """
    for name in ("url", "client_id", "client_secret"):
        if not isinstance(getattr(config, name), str):
            raise TypeError(f"{name}: has to be a str")
    for name in ("timeout_s", "cache_max_age_s", "feed_silence_s", "serve_stale_for_s"):
        if not _is(getattr(config, name), int | float):
            raise TypeError(f"{name}: has to be a number of seconds")
    if not _is(config.cache_size, int):
        raise TypeError("cache_size: has to be an int")
    if not isinstance(config.cache, bool):
        raise TypeError("cache: has to be True or False")
    if not isinstance(config.audience, str | None):
        raise TypeError("audience: has to be a str, or None")
    if not isinstance(config.tls, ssl.SSLContext | None):
        raise TypeError("tls: has to be an ssl.SSLContext, or None for the CAs of the system")
    prefixes = config.foreign_key_prefixes
    if not isinstance(prefixes, tuple) or not all(isinstance(prefix, str) for prefix in prefixes):
        raise TypeError('foreign_key_prefixes: has to be a tuple of str, such as ("sk_live_",)')


def _is(value: object, number: type | UnionType) -> bool:
    return isinstance(value, number) and not isinstance(value, bool)  # Python takes a bool for an int


def _check_url(url: str) -> None:
    """Raises ValueError, which shows the URL without a password in it."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("url: has to begin with http:// or https://")
    wrong = _fault_of(url)
    if wrong is not None:
        shown = re.sub("//.*@", "//", url, flags=re.DOTALL)
        raise ValueError(f"url: {wrong}: {shown!r}")


def _fault_of(url: str) -> str | None:
    if re.search(r"\s", url):
        return "must not contain white space"
    if "?" in url or "#" in url:
        return "must not have a query or a fragment"
    try:
        parts = urlsplit(url)
    except ValueError:  # `http://[::1`
        return "is malformed"
    try:
        if parts.port == 0:
            return "has a wrong port"
    except ValueError:
        return "has a wrong port"
    try:
        httpx.URL(url)
    except httpx.InvalidURL:
        return "is malformed"
    return None if parts.hostname else "has no host"
