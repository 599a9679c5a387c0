"""Telling which user a token speaks for now."""

from collections.abc import Sequence
from typing import Any

from authsvc.core import scope as scopes
from authsvc.core import token as tokens
from authsvc.core.client import CLIENT_ID
from authsvc.core.session import Active, Found, Inactive, Reason, decide
from authsvc.core.token import Kind, Token
from authsvc.flows.deps import Deps
from authsvc.metrics import result_of
from authsvc.store.lookup import Answer

INACTIVE: dict[str, Any] = {"active": False}


async def look_up(deps: Deps, presented: str) -> Active | Inactive:
    """Decide about an access token as it is presented. Raises StoreUnavailable.

    The use of an active token is not noted yet: the caller calls `note_use` once nothing else refuses the request.
    """
    token = tokens.parse(presented, Kind.ACCESS)
    if token is None:  # malformed, or of another kind: answered without a round trip
        return _malformed(deps)
    return judge(deps, token, await deps.store.lookup.session(token.handle), deps.clock())


async def introspect(
    deps: Deps, client_id: str, secret: str | None, presented: Sequence[str], scope: str = ""
) -> list[dict[str, Any]] | None:
    """Answer a resource server about tokens, in order (RFC 7662 section 2.2).

    Refresh tokens are inactive here: resource servers do not look at `token_type`, and would take them for access
    tokens. Unknown, expired, revoked and not-for-this-caller are one indistinguishable answer. A token without a word
    of `scope` gets it too. The record of the client is read in the same round trip. Returns None if the secret is wrong
    or the client may not introspect. Raises StoreUnavailable if the store could not be asked, which is not the same as
    inactive.
    """
    if secret is None or not CLIENT_ID.fullmatch(client_id):
        return None
    # Malformed tokens and tokens of other kinds are not looked up.
    parsed = [tokens.parse(text, Kind.ACCESS) for text in presented]
    found = await deps.store.lookup.sessions(client_id, [token.handle for token in parsed if token])
    return answers(deps, found, secret, parsed, scope)


def answers(
    deps: Deps, found: Answer, secret: str, asked: Sequence[Token | None], scope: str = ""
) -> list[dict[str, Any]] | None:
    """Answer as `introspect` does, from records that were read. Raises StoreUnavailable for a damaged record."""
    now, client = deps.clock(), found.client()
    if client is None or not client.opens_with(secret, now) or not client.may("introspect"):
        return None
    told = []
    for token in asked:
        verdict = judge(deps, token, found.session(token.handle), now) if token else _malformed(deps)
        # An answer of "inactive" does not count as use, or a client outside the audience could keep a session alive.
        if (
            isinstance(verdict, Active)
            and client.covers(verdict.session.aud)
            and (not scope or scopes.covers(verdict.scope, scope))
        ):
            note_use(deps, verdict, now)
            told.append(described(verdict, deps.settings.base_url, now))
        else:
            told.append(INACTIVE)
    return told


def _malformed(deps: Deps) -> Inactive:
    deps.metrics.tokens_checked.add("malformed")
    return Inactive(Reason.UNKNOWN)


def judge(deps: Deps, token: Token, found: Found | None, now: float) -> Active | Inactive:
    """Decide about a token once its session has been read, and count the verdict."""
    verdict = Inactive(Reason.UNKNOWN) if found is None else decide(found, token, now)
    deps.metrics.tokens_checked.add("active" if isinstance(verdict, Active) else result_of(verdict.reason))
    return verdict


def note_use(deps: Deps, active: Active, now: float) -> None:
    """Keep the session from expiring idle, and note that the answer of its last refresh arrived.

    Only for a request that nothing refuses any more.
    """
    session = active.session
    if session.due_for_touch(now):
        deps.store.sessions.touch(active.handle, now)
    previous = session.previous
    if previous is not None and active.current and previous.awaits_answer(now):
        deps.store.sessions.note_answer(active.handle, session.access)


def described(active: Active, issuer: str, now: float) -> dict[str, Any]:
    """The answer about an active token. Members without a value are absent, such as an empty scope."""
    session, user = active.session, active.user
    answer: dict[str, Any] = {
        "active": True,
        "sub": session.sub,
        "client_id": session.client_id,
        "token_type": "Bearer",
        "exp": active.exp,
        "iat": session.iat,
        "iss": issuer,
        "roles": user.roles,
        "session_id": active.handle,
    }
    if active.scope:  # RFC 6749 section 3.3: at least one word
        answer["scope"] = active.scope
    auth_time = session.auth_time
    if auth_time is not None:
        answer["auth_time"] = auth_time
    answer["version"] = user.version
    answer["recheck_at"] = session.recheck_at(now, active.exp)
    if user.username is not None:
        answer["username"] = user.username
    if session.aud:
        # RFC 7519 section 4.1.3: many resource servers read one audience as a string only.
        answer["aud"] = session.aud[0] if len(session.aud) == 1 else session.aud
    if session.amr:
        answer["amr"] = session.amr
    if user.claims:
        answer["claims"] = user.claims
    return answer
