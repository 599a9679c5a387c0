"""The settings of an introspector."""

import ssl
from dataclasses import dataclass, field


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
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("url: has to begin with http:// or https://")
        if not self.client_id or not self.client_secret:
            raise ValueError("client_id and client_secret: required")
        if self.timeout_s <= 0 or self.cache_size < 1 or self.cache_max_age_s <= 0:
            raise ValueError("timeout_s, cache_size, cache_max_age_s: have to be above 0")
        if self.feed_silence_s <= 1:
            raise ValueError("feed_silence_s: has to be above 1, because the service sends one heartbeat a second")
        if self.serve_stale_for_s < 0 or (self.serve_stale_for_s and not self.cache):
            raise ValueError("serve_stale_for_s: has to be 0 or more, and needs cache=True")
