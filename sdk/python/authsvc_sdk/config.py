"""The settings of an introspector."""

import re
import ssl
from dataclasses import dataclass, field, fields
from inspect import formatannotation
from typing import Any, TypedDict

# A base URL, perhaps with a name and a password, which nothing uses.
_URL = re.compile(r"https?://([^\s/?#@]*@)?([\w.-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?(/[^\s\0?#]*)?")
_ACCEPTED: dict[Any, Any] = {float: int | float, tuple[str, ...]: tuple}


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
        for one in fields(self):  # a value of another type would fail later, or as `tls=False` disable the check of TLS
            value, kind = getattr(self, one.name), _ACCEPTED.get(one.type, one.type)
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise TypeError(f"{one.name}: has to be {formatannotation(one.type)}")
        url = _URL.fullmatch(self.url)
        if url is None or not 0 < int(url["port"] or 80) < 1 << 16:
            shown = re.sub("//.*@", "//", self.url, flags=re.DOTALL)  # without a password
            raise ValueError(f"url: has to be http:// or https://, a host, perhaps a port and a path: {shown!r}")
        if self.audience == "" or not all((self.client_id, self.client_secret, *self.foreign_key_prefixes)):
            raise ValueError("client_id, client_secret, audience, foreign_key_prefixes: must not be empty")
        if not (0 < self.timeout_s < float("inf") and self.cache_size >= 1 and self.cache_max_age_s > 0):
            raise ValueError("timeout_s, cache_size, cache_max_age_s: have to be above 0, and timeout_s finite")
        if not self.feed_silence_s > 1:
            raise ValueError("feed_silence_s: has to be above 1, because the service sends one heartbeat a second")
        if not self.serve_stale_for_s >= 0 or (self.serve_stale_for_s and not self.cache):
            raise ValueError("serve_stale_for_s: has to be 0 or more, and needs cache=True")
