"""The settings of an introspector."""

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, TypedDict

# A base URL, perhaps with a name and a password, which nothing uses.
_URL = re.compile(r"https?://([^\s/?#@]*@)?([\w.-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?(/[^\s\0?#]*)?")
# HTTP Basic cannot carry a colon here (RFC 7617 section 2). The log shows the id, so it must not be the secret.
_ID = re.compile("(?!sec_)[^:]+")
_ACCEPTED: dict[Any, Any] = {float: int | float, tuple[str, ...]: tuple}


def _rule(meaning: str, fits: Callable[[Any], object] = lambda _: True) -> dict[str, Any]:
    return {"meaning": meaning, "fits": fits}


_PREFIXES = _rule("a tuple of texts that are not empty", lambda some: all(one and isinstance(one, str) for one in some))


def _is_url(text: str) -> bool:
    url = _URL.fullmatch(text)
    return url is not None and 0 < int(url["port"] or 80) < 1 << 16


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
    It is above 1, because the service sends one heartbeat a second.
    serve_stale_for_s: how long old answers bridge an outage of the service. A revocation made during the outage stays
    unnoticed as long.
    """

    url: str = field(metadata=_rule("http:// or https://, a host, perhaps a port and a path", _is_url))
    client_id: str = field(metadata=_rule("the id of a client, without a colon, and not its secret", _ID.fullmatch))
    client_secret: str = field(repr=False, metadata=_rule("text that is not empty", bool))
    timeout_s: float = field(default=3.0, metadata=_rule("a finite number above 0", lambda s: 0 < s < float("inf")))
    audience: str | None = field(default=None, metadata=_rule("None, or text that is not empty", lambda t: t != ""))
    tls: ssl.SSLContext | None = field(default=None, metadata=_rule("an ssl.SSLContext, or None"))
    foreign_key_prefixes: tuple[str, ...] = field(default=(), metadata=_PREFIXES)
    cache: bool = field(default=False, metadata=_rule("True or False"))
    cache_size: int = field(default=100_000, metadata=_rule("a whole number above 0", lambda n: n > 0))
    cache_max_age_s: float = field(default=300.0, metadata=_rule("a number above 0", lambda s: s > 0))
    feed_silence_s: float = field(default=2.0, metadata=_rule("a number above 1", lambda s: s > 1))
    serve_stale_for_s: float = field(default=0.0, metadata=_rule("a number, 0 or more", lambda s: s >= 0))

    def __post_init__(self) -> None:
        for one in fields(self):  # a value of another type would fail later, or as `tls=False` disable the check of TLS
            value, kind = getattr(self, one.name), _ACCEPTED.get(one.type, one.type)
            typed = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
            if not typed or not one.metadata["fits"](value):
                # Without a password in the URL, and without the secret, also where it is in the place of the id.
                shown = re.sub("//.*@", "//", f"; given: {value!r}") if one.repr and "sec_" not in str(value) else ""
                raise (ValueError if typed else TypeError)(f"{one.name}: has to be {one.metadata['meaning']}{shown}")
        if self.serve_stale_for_s and not self.cache:
            raise ValueError("serve_stale_for_s: needs cache=True")


def refuse_unknown(settings: Settings) -> None:
    """Raise TypeError for a setting that does not exist."""
    for name in settings.keys() - (known := Settings.__annotations__).keys():
        raise TypeError(f"{name}: not a setting, did you mean {' or '.join(get_close_matches(name, known) or known)}?")
