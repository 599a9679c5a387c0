"""Telling which user a token speaks for now."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from msgspec.json import encode

from authsvc.core import scope as scopes
from authsvc.core import token as tokens
from authsvc.core.client import CLIENT_ID, Client
from authsvc.core.reason import Reason
from authsvc.core.session import Active, Found, Inactive, decide
from authsvc.core.token import BEARER, Token
from authsvc.flows.deps import Deps
from authsvc.flows.recall import recalled, remember
from authsvc.metrics import result_of
from authsvc.store.memory import question_of
from authsvc.store.moment import Moment

INACTIVE = b'{"active":false}'


async def look_up(deps: Deps, presented: str) -> Active | Inactive:
    """Decide about an access token or a key as it is presented. Raises StoreUnavailable.

    The use of an active token is not noted yet: the caller calls `note_use` once nothing else refuses the request.
    """
    token = parsed(deps, presented)
    if token is None:  # malformed, or of another kind: answered without a round trip
        return _malformed(deps)
    return judge(deps, token, await deps.store.lookup.session(token.handle), deps.clock())


async def introspect(
    deps: Deps, client_id: str, secret: str | None, presented: Sequence[str], scope: str = "", ip: str | None = None
) -> list[bytes] | None:
    """Answer a resource server about tokens, in order (RFC 7662 section 2.2). Each answer is a JSON object.

    Refresh tokens are inactive here: resource servers do not look at `token_type`, and would take them for access
    tokens. Unknown, expired, revoked and not-for-this-caller are one indistinguishable answer. A token without a word
    of `scope` gets it too, and a key that is bound to networks, unless `ip` is in one. The record of the client is read
    in the same round trip. Returns None if the secret is wrong or the client may not introspect. Raises
    StoreUnavailable if the store could not be asked, which is not the same as inactive.
    """
    if secret is None or not CLIENT_ID.fullmatch(client_id):
        return None
    asker = Asker(client_id, tokens.digest(secret), scope, ip)
    find = deps.memory.find
    questions = asker.questions(presented)
    remembered = [*map(find, questions)]
    wanted = chain.from_iterable([one.wanted for one in remembered if one is not None])
    # Malformed tokens and tokens of other kinds are not looked up.
    asked = [None if known else parsed(deps, text) for known, text in zip(remembered, presented, strict=True)]
    handles = [token.handle for token in asked if token is not None]
    moment = await deps.store.lookup.sessions(client_id, handles, wanted)
    now = deps.clock()
    client = asker.admitted(moment, now)
    if client is None:
        return None
    return [
        recalled(deps, known, moment, now)
        or answer(deps, moment, asker, client, parsed(deps, text) if known else token, question, now)
        for known, token, text, question in zip(remembered, asked, presented, questions, strict=True)
    ]


class Asker(NamedTuple):
    """A client that introspects. secret: the digest of what it presents. scope: what it requires of each token.

    ip: from where the tokens are used, as the client saw it. None: it does not say.
    """

    client_id: str
    secret: str
    scope: str = ""
    ip: str | None = None

    def __repr__(self) -> str:
        return f"Asker({self.client_id!r})"

    def questions(self, presented: Sequence[str]) -> list[bytes]:
        """The names in the memory of the questions about these texts."""
        asker = f"introspect\n{self.client_id} {self.secret} {self.ip or '-'} {self.scope}\n".encode()
        return [question_of(asker + text.encode("utf-8", "surrogatepass")) for text in presented]

    def admitted(self, moment: Moment, now: float) -> Client | None:
        """The client, None if it may not introspect. Raises StoreUnavailable for a damaged record."""
        client = moment.client(self.client_id)
        if client is None or not client.holds(self.secret, now) or not client.may("introspect"):
            return None
        return client


def answer(
    deps: Deps, moment: Moment, asker: Asker, client: Client, token: Token | None, question: bytes, now: float
) -> bytes:
    """Answer as `introspect` does, and note that the session was used. client: the asker. token None: malformed.

    question: the name under which the memory keeps the answer. Raises StoreUnavailable for a damaged record.
    """
    verdict = judge(deps, token, moment.found(token.handle), now, asker.ip) if token else _malformed(deps)
    # An answer of "inactive" does not count as use, or a client outside the audience could keep a session alive.
    if (
        token is None
        or isinstance(verdict, Inactive)
        or not client.covers(verdict.aud)
        or (asker.scope and not scopes.covers(verdict.scope, asker.scope))
    ):
        return INACTIVE
    note_use(deps, verdict, now, asker.ip)
    body = encode(described(verdict, deps.settings.base_url, now))
    remember(deps, moment, question, verdict, client, now, body)
    return body


def _malformed(deps: Deps) -> Inactive:
    deps.metrics.tokens_checked.add("malformed")
    return Inactive(Reason.UNKNOWN)


def parsed(deps: Deps, presented: str) -> Token | None:
    """The access token or key, None if the text is neither."""
    return tokens.parse(presented, *BEARER, foreign=deps.settings.foreign_key_prefixes)


def judge(deps: Deps, token: Token, found: Found | None, now: float, ip: str | None = None) -> Active | Inactive:
    """Decide about a token once its session has been read, and count the verdict. ip: from where the token is used."""
    verdict = Inactive(Reason.UNKNOWN) if found is None else decide(found, token, now, ip)
    deps.metrics.tokens_checked.add("active" if isinstance(verdict, Active) else result_of(verdict.reason))
    return verdict


def note_use(deps: Deps, active: Active, now: float, ip: str | None = None) -> None:
    """Keep the session from expiring idle, and note that the answer of its last refresh arrived.

    ip: from where the token is used, if that is known. Only for a request that nothing refuses any more.
    """
    session = active.session
    if session.due_for_touch(now):
        deps.store.sessions.touch(active.handle, now, ip)
    previous = session.previous
    if previous is not None and active.current and previous.awaits_answer(now):
        deps.store.sessions.note_answer(active.handle, session.access)


def described(active: Active, issuer: str, now: float) -> dict[str, Any]:
    """The answer about an active token. Members without a value are absent, such as an empty scope."""
    session, user = active.session, active.user
    auth_time, amr, acr, vouched_by = session.authentication(active.client)
    answer: dict[str, Any] = {
        "active": True,
        "sub": session.sub,
        "client_id": active.client_id,
        "token_type": "Bearer",
        "exp": active.exp,
        "iat": active.iat,
        "iss": issuer,
        "roles": user.roles,
        "session_id": active.handle,
    }
    if active.scope:  # RFC 6749 section 3.3: at least one word
        answer["scope"] = active.scope
    if auth_time is not None:
        answer["auth_time"] = auth_time
    answer["version"] = user.version
    answer |= _cacheable(active, now)
    if user.username is not None:
        answer["username"] = user.username
    if aud := active.aud:
        # RFC 7519 section 4.1.3: many resource servers read one audience as a string only.
        answer["aud"] = aud[0] if len(aud) == 1 else aud
    if amr:
        answer["amr"] = amr
    if acr is not None:
        answer["acr"] = acr
    if vouched_by is not None:
        answer["vouched_by"] = vouched_by
    if active.token_use is not None:
        answer["token_use"] = active.token_use
    if act := active.act:
        answer["act"] = act
    if user.claims:
        answer["claims"] = user.claims
    return answer


def _cacheable(active: Active, now: float) -> dict[str, Any]:
    """Until when the answer may be cached.

    An answer that depends on more clients than its `client_id` names them, and has no `recheck_at` of its own. A cache
    that does not know of that keeps only answers with a `recheck_at`, and would miss the cut-off of another client.
    """
    if active.session.networks:  # a cache would give the answer for other addresses, too
        return {}
    recheck_at = active.session.recheck_at(now, active.exp)
    # Only an exchanged token depends on more clients.
    others = [one for one in active.client_ids if one != active.client_id] if active.chain else []
    return {"cache": {"recheck_at": recheck_at, "clients": others}} if others else {"recheck_at": recheck_at}
