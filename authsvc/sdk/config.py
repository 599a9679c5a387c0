"""What an introspector is told when it is made."""

import ssl
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """url, client_id, client_secret: the service, and our client there, which needs the permission `introspect`.

    timeout_s: the longest that one check takes, everything included. audience: refuse tokens that are not meant for it.
    tls: for a CA of your own or a client certificate.

    cache: keep answers in this process and drop them when the service announces a change; at most `cache_size`, each
    for at most `cache_max_age_s`. feed_silence_s: the longest that a revocation can go unheard; after so long without a
    sign of life the cache is not used. serve_stale_for_s: while the service can't be asked, for how long answers are
    used that were right before; a revocation made meanwhile is not honoured for as long.
    """

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    timeout_s: float = 3.0
    audience: str | None = None
    tls: ssl.SSLContext | None = None
    cache: bool = False
    cache_size: int = 100_000
    cache_max_age_s: float = 300.0
    feed_silence_s: float = 2.0
    serve_stale_for_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("url: http:// or https://")
        if not self.client_id or not self.client_secret:
            raise ValueError("client_id and client_secret: required")
        if self.timeout_s <= 0 or self.cache_size < 1 or self.cache_max_age_s <= 0:
            raise ValueError("timeout_s, cache_size, cache_max_age_s: above 0")
        if self.feed_silence_s <= 1:
            raise ValueError("feed_silence_s: above 1, as the service gives a sign of life once a second")
        if self.serve_stale_for_s < 0 or (self.serve_stale_for_s and not self.cache):
            raise ValueError("serve_stale_for_s: 0 or more, and only with cache=True")
