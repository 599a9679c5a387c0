"""Exchanged tokens (RFC 8693), as the record of their session holds them.

A client gives a token of a session, and gets a narrower one for the next resource server. The exchanged token has the
handle of that session, so the same read finds it, and it is dead with the session. `core/exchange.py` has the
transitions.
"""

from collections.abc import Sequence
from typing import Any, Final

from authsvc.core.record import Part
from authsvc.core.token import is_same_digest

# How long an exchanged token lives. Its client can exchange again, so it need not live long. In seconds.
LIVES_S: Final = 15 * 60
# How many exchanged tokens a session may have at a time.
MOST: Final = 16
# An exchanged token may be exchanged once more.
DEPTH: Final = 2

# A session may have 16 of these, so their names in the store have one letter.
_STORED = {
    "number": "n",
    "access": "t",
    "client_id": "c",
    "epoch": "e",
    "issued": "i",
    "words": "s",
    "audience": "a",
    "source": "o",
    "ended": "x",
}


class Exchanged(Part, frozen=True, kw_only=True, omit_defaults=True, rename=_STORED):
    """One exchanged token. It takes at most 160 bytes in the record of its session.

    number: its name inside the session; no later one has the same. access: the digest of the token.

    client_id, epoch: the client that exchanged, and the epoch of this client when it did. The token ends with it.

    issued: seconds after the beginning of the session.

    words: which words of the session's scope it has, one bit for each. None: all of them.

    audience: the resource server that it is for: a place in the session's audience, or a name. None: the same ones as
    for the token that was exchanged.

    source: the number of the exchanged token from which it comes. None: it comes from a token of the session.

    ended: whether it was revoked. It stays in the record until it expires, so that revoking it again is made durable.
    """

    hidden = Part.hidden | {"access"}

    number: int
    access: str
    client_id: str
    epoch: int
    issued: int
    words: int | None = None
    audience: int | str | None = None
    source: int | None = None
    ended: bool = False


# An exchanged token, behind it the exchanged token from which it comes, and so on. Empty: a token of the session.
Chain = tuple[Exchanged, ...]


def find(held: Sequence[Exchanged], presented: str) -> Chain:
    """The exchanged token with this digest, and all from which it comes. Empty if there is none."""
    for one in held:
        if is_same_digest(one.access, presented):
            return chain_of(held, one)
    return ()


def chain_of(held: Sequence[Exchanged], one: Exchanged) -> Chain:
    """This exchanged token, and all from which it comes. It has ended if one of these is gone from the record."""
    if one.source is None:
        return (one,)
    sources = [source for source in held if source.number == one.source]
    return (one, *chain_of(held, sources[0])) if sources else (one.but(ended=True),)


def has_ended(chain: Chain) -> bool:
    return any(one.ended for one in chain)


def expires_at(chain: Chain, began: int, end: int) -> int:
    """When it expires: never later than what it comes from. began, end: of the session, in epoch seconds."""
    return min(end, *(began + one.issued + LIVES_S for one in chain))


def audience_of(chain: Chain, of_session: tuple[str, ...]) -> tuple[str, ...]:
    """The resource servers for which it is. of_session: the audience of the session."""
    for one in chain:
        if isinstance(one.audience, int):
            return (of_session[one.audience],)
        if one.audience is not None:
            return (one.audience,)
    return of_session


def act_of(chain: Chain) -> dict[str, Any]:
    """The clients that act for the user (RFC 8693 section 4.1): the last one, and inside of it the one before."""
    act: dict[str, Any] = {}
    for one in reversed(chain):
        act = {"sub": one.client_id, "act": act} if act else {"sub": one.client_id}
    return act
