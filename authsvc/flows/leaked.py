"""Ending tokens that somebody found where they do not belong, such as in a repository or a log.

A genuine token is enough to end what it belongs to: its finder could do worse with it. The finder learns nothing.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from authsvc.core import api_key, exchange
from authsvc.core.event import About, Event
from authsvc.core.exchanged import audience_of, has_ended
from authsvc.core.leak import Leaked, Named, recognise
from authsvc.core.reason import Reason
from authsvc.core.session import Found, Inactive, Session, decide
from authsvc.core.token import Kind, Token, is_same_digest
from authsvc.errors import NotDurable
from authsvc.flows.attempts import leak_windows
from authsvc.flows.deps import Caller, Deps, Happened, audit_each
from authsvc.store.leaks import End, Held


class Find(NamedTuple):
    """Genuine tokens of one record, the change that ends them, and the events that tell of it."""

    end: End
    happened: tuple[Happened, ...]


async def report(deps: Deps, caller: Caller, found: Iterable[tuple[str, str | None]], *, limited: bool = True) -> bool:
    """End what is alive of the tokens among these texts, and record where they were found.

    found: texts, each with the URL of its place. limited: whether the reports of an address are limited.
    False: none of the texts has the form of a token, and the store was not asked.
    Raises TooManyAttempts, StoreUnavailable, and NotDurable if the ends may not last.
    """
    leaked = recognise(found, deps.settings.foreign_key_prefixes)
    if not leaked:
        return False
    if limited:
        await _count(deps, caller)
    while leaked:  # again those whose records another call changed meanwhile
        held, now = await deps.store.leaks.read(leaked), deps.clock()
        finds = [await _FINDING[one.named](deps, held, one, now) for one in leaked]
        leaked = await _end(deps, caller, leaked, finds)
    return True


async def _count(deps: Deps, caller: Caller) -> None:
    """Count a report of this address. Raises TooManyAttempts."""
    attempt = await deps.store.throttle.reserve(leak_windows(deps.settings, caller.ip), deps.clock())
    await deps.store.throttle.settle(attempt, right=False)


async def _end(deps: Deps, caller: Caller, leaked: list[Leaked], finds: list[Find | None]) -> list[Leaked]:
    """End the tokens and record it. Returns those whose records have changed since they were read."""
    leaks = deps.store.leaks
    ends = [leaks.end_nothing(one) if find is None else find.end for one, find in zip(leaked, finds, strict=True)]
    try:
        made = await leaks.apply(ends)
    except NotDurable:
        await _audit(deps, caller, finds, outcome="unsure")
        raise
    ended = [find if done else None for find, done in zip(finds, made, strict=True)]
    await _audit(deps, caller, ended)
    await leaks.tidy([end for end, done in zip(ends, made, strict=True) if done])
    return [one for one, done in zip(leaked, made, strict=True) if not done]


async def _audit(deps: Deps, caller: Caller, finds: list[Find | None], outcome: str = "success") -> None:
    happened = [one for find in finds if find is not None for one in find.happened]
    await audit_each(deps, caller, Event.TOKEN_LEAKED, happened, outcome=outcome)


def _happened(leaked: Leaked, token: Token, about: About, kind: str, **powers: Any) -> Happened:
    """The event of a leaked token. powers: what it was, and what it could do."""
    where = {} if leaked.place is None else {"url": leaked.place}
    details = {"token": token.public, **where, **{name: value for name, value in powers.items() if value}}
    # Logins in progress and exchanges cost nobody anything, so a flood of these is not kept.
    return Happened(about, kind, ended=kind not in ("login", "exchanged"), details=details)


async def _in_session(deps: Deps, held: Held, leaked: Leaked, now: float) -> Find | None:
    """Any token that the session ever issued and still recognises ends it, as reuse does."""
    found = held.session(leaked.handle)
    if found is None:
        return None
    session = found.session
    genuine = [token for token in leaked.tokens if session.match(token, now) is not Reason.FORGED]
    own = [token for token in genuine if not _ends_alone(session, token)]
    if own:
        end = deps.store.leaks.end_session(leaked.handle, session)
        return Find(end, (_of_session(found, leaked, own, now),))
    alone = [token for token in genuine if not has_ended(session.chain_of(token)[:1])]
    return await _alone(deps, held, leaked, found, alone, now) if alone else None


def _ends_alone(session: Session, token: Token) -> bool:
    """Whether the session goes on without this token.

    Exchanged tokens are others' work. A key that was rotated has another text already, perhaps because of this leak.
    """
    return bool(session.chain_of(token)) or api_key.is_former(session, token)


async def _alone(deps: Deps, held: Held, leaked: Leaked, found: Found, alone: list[Token], now: float) -> Find | None:
    session = held.session_to_change(leaked.handle)
    if session is None:  # for the type checker: it was found
        return None
    changed = session
    for token in alone:
        changed = exchange.end(changed, token) if session.chain_of(token) else api_key.without_former(changed)
    end = await deps.store.leaks.change_session(held, leaked.handle, session, changed)
    return Find(end, tuple(_of_token(found, leaked, token, now) for token in alone))


def _of_session(found: Found, leaked: Leaked, own: list[Token], now: float) -> Happened:
    """One event for all tokens of a session, by its strongest one. own: those that do not end alone."""
    session, owner = found.session, found.owner
    verdicts = [decide(found, token, now) for token in own]
    inactive = [verdict.reason for verdict in verdicts if isinstance(verdict, Inactive)]
    token = max(own, key=lambda one: one.kind is Kind.REFRESH)
    return _happened(
        leaked,
        token,
        About(session.sub, leaked.handle, session.client_id),
        token.kind.name.lower(),
        was="active" if len(inactive) < len(own) else inactive[0],
        scope=session.scope if token.kind is Kind.REFRESH else session.granted,
        audience=session.aud,
        roles=None if owner is None else owner.roles,
    )


def _of_token(found: Found, leaked: Leaked, token: Token, now: float) -> Happened:
    """The event of a token that ends alone."""
    session, owner, verdict = found.session, found.owner, decide(found, token, now)
    chain = session.chain_of(token)
    return _happened(
        leaked,
        token,
        About(session.sub, leaked.handle, chain[0].client_id if chain else session.client_id),
        "exchanged" if chain else "former_key",
        was=verdict.reason if isinstance(verdict, Inactive) else "active",
        scope=session.scope_of(chain[0]) if chain else session.scope,
        audience=audience_of(chain, session.aud),
        roles=None if owner is None else owner.roles,
    )


async def _in_step(deps: Deps, held: Held, leaked: Leaked, now: float) -> Find | None:
    for token in leaked.tokens:
        step, challenge = held.step(leaked.handle), held.challenge(leaked.handle)
        if step is not None and step.opens_with(token, now):
            about = About(step.sub, client_id=step.client_id)
            end = deps.store.leaks.end_step(leaked.handle)
            return Find(end, (_happened(leaked, token, about, "login", was="active"),))
        # A login by passkey alone has nothing but its challenge.
        if challenge is not None and challenge.digest is not None and is_same_digest(challenge.digest, token.digest):
            end = deps.store.leaks.end_challenge(leaked.handle)
            return Find(end, (_happened(leaked, token, About(), "login", was="active"),))
    return None


async def _as_code(deps: Deps, held: Held, leaked: Leaked, now: float) -> Find | None:
    code = held.code(leaked.handle)
    credentials = None if code is None else held.credentials(code.sub)
    if code is None or credentials is None or credentials.reset_code != leaked.handle or now >= code.until:
        return None
    for token in leaked.tokens:
        if is_same_digest(code.digest, token.digest):
            end = await deps.store.leaks.end_code(held, leaked.handle, code.sub, credentials)
            return Find(end, (_happened(leaked, token, About(code.sub), "reset", was="active"),))
    return None


async def _of_device(deps: Deps, held: Held, leaked: Leaked, now: float) -> Find | None:
    owned = held.device_of(leaked.handle)
    if owned is None:
        return None
    user, factors = owned
    for token in leaked.tokens:
        device = factors.device_with(token.digest)
        if device is not None:
            trusted = now < device.until and device.epoch == user.epoch
            end = await deps.store.leaks.end_device(held, leaked.handle, user.sub, factors, device)
            was = "active" if trusted else Reason.EXPIRED
            return Find(end, (_happened(leaked, token, About(user.sub), "device", was=was),))
    return None


_Finding = Callable[[Deps, Held, Leaked, float], Awaitable[Find | None]]
_FINDING: dict[Named, _Finding] = {
    "session": _in_session,
    "step": _in_step,
    "code": _as_code,
    "device": _of_device,
}
