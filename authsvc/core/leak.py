"""Tokens that somebody found where they do not belong: which records they name, and where they were found."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from authsvc.core import token as tokens
from authsvc.core.token import Kind, Token

# The kind of record that a token names.
Named = Literal["session", "step", "code", "device"]

# A client secret is not among them: its owner replaces it without a gap, and whoever finds it could stop a service.
_NAMED: Final[Mapping[Kind, Named]] = {
    Kind.ACCESS: "session",
    Kind.REFRESH: "session",
    Kind.KEY: "session",
    Kind.LOGIN: "step",
    Kind.RESET: "code",
    Kind.DEVICE: "device",
}

# What the trail and the metrics call the leaked token. The first three end their session.
KINDS: Final = ("access", "refresh", "key", "exchanged", "former_key", "login", "reset", "device")
ENDING: Final = frozenset(KINDS[:3])

MAX_TOKENS: Final = 1000
MAX_PLACE: Final = 1000
# A URL of printable ASCII: it can neither steer a terminal nor begin a line of its own.
PLACE: Final = re.compile(r"https?://[!-~]+")
_CREDENTIALS = re.compile(r"^(https?://)[^/?#]*@")
_SECRET_PART = re.compile(rf"({tokens.PREFIX.pattern}[0-9A-Za-z]{{12}})[0-9A-Za-z]+")


class Leaked(NamedTuple):
    """Leaked tokens of one record. place: where the first of them was found, as `place_of` makes it."""

    named: Named
    handle: str
    tokens: tuple[Token, ...]
    place: str | None


def recognise(found: Iterable[tuple[str, str | None]], foreign: tuple[str, ...] = ()) -> list[Leaked]:
    """The tokens among these texts, by the record that they name. All other texts are left out.

    found: texts, each with the URL of its place. foreign: the prefixes of foreign keys.
    """
    by_record: dict[tuple[Named, str], tuple[dict[Token, None], str | None]] = {}
    for text, url in found:
        token = tokens.parse(text, foreign=foreign)
        named = _NAMED.get(token.kind) if token else None
        if token is not None and named is not None:
            by_record.setdefault((named, token.handle), ({}, url))[0][token] = None
    return [Leaked(*record, tuple(held), place_of(url, foreign)) for record, (held, url) in by_record.items()]


def place_of(url: str | None, foreign: tuple[str, ...] = ()) -> str | None:
    """A URL as the audit trail keeps it: without credentials, and without the secret part of any token.

    foreign: the prefixes of foreign keys. None if it is no URL that may be kept.
    """
    if url is None or not PLACE.fullmatch(url):
        return None
    shown = _SECRET_PART.sub(r"\1…", _CREDENTIALS.sub(r"\1", url))
    for prefix in foreign:
        shown = re.sub(rf"({re.escape(prefix)})[A-Za-z0-9._~+=-]+", r"\1…", shown)
    return shown[:MAX_PLACE]
