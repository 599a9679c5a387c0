"""Logging in with a username and a password."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from authsvc.core import scope as scopes
from authsvc.core.client import Client
from authsvc.core.event import About, Event
from authsvc.core.factors import Account
from authsvc.core.password import MAX_BYTES, too_long
from authsvc.core.record import Service
from authsvc.core.session import Epochs
from authsvc.core.strength import PASSWORD
from authsvc.core.username import normalise
from authsvc.errors import (
    InvalidCredentials,
    InvalidRequest,
    NotFound,
    Overloaded,
    TooManyAttempts,
    TooManyChanges,
)
from authsvc.flows import steps
from authsvc.flows.attempts import login_windows, note_lock, place_of
from authsvc.flows.deps import Caller, Deps, audit
from authsvc.flows.grants import Asked, Grant, open_login
from authsvc.flows.hash_forms import forms_in_use
from authsvc.flows.steps import Needed
from authsvc.hashing.imported import read_whole


async def login(
    deps: Deps,
    caller: Caller,
    client: Client,
    service: Service,
    *,
    username: str,
    password: str,
    scope: str = "",
    device: str | None = None,
    cookie: bool = False,
    device_token: str | None = None,
) -> Grant:
    """Open a session for a user who proves the password. In cookie mode the session has no refresh token.

    Unknown user, suspended user, missing password and wrong password get the same answer after the same work.
    client, service: as read before the call. A cut-off since then ends the session of this login too.
    device_token: of a device that the user trusts; it stands in for the second factor where no policy demands one.
    Raises InsufficientAuthorization if a second factor is needed, and InvalidCredentials, TooManyAttempts, Overloaded,
    InvalidScope, InvalidRequest.
    """
    refuse_long(password)
    granted = scopes.within(scope, client.widest_scope(deps.settings.app_scope))
    attempt = AttemptEvents(Event.LOGIN_FAILED, Event.LOGIN_THROTTLED)
    missing = partial(steps.missing, deps, client, device_token)
    account = await authenticate(deps, caller, service, username, password, attempt, missing)
    asked = Asked(scope=granted, device=device, cookie=cookie)
    epochs, needed = Epochs.of(account.user, client, service), missing(account)
    if needed is None:
        grant = await open_login(deps, caller, account.user, client, service, asked, epochs=epochs, amr=(PASSWORD,))
        await _rehash_if_outdated(deps, account, password)
        return grant
    await _rehash_if_outdated(deps, account, password)
    raise await steps.begin(deps, caller, account, client, epochs, needed, asked, proven=(PASSWORD,))


class AttemptEvents(NamedTuple):
    """The events to write when a password is wrong, and when an attempt is throttled."""

    failed: Event
    throttled: Event


async def authenticate(
    deps: Deps,
    caller: Caller,
    service: Service,
    username: str,
    password: str,
    events: AttemptEvents,
    missing: Callable[[Account], Needed | None] = lambda _: None,
) -> Account:
    """Check a password. The attempt is counted before the hash is computed, and taken back if it was right.

    missing: what a login needs besides the password. A right password that needs more clears no count of wrong ones,
    and makes no network known: only a completed login does.
    """
    canonical = _canonical(username)
    windows = login_windows(deps.settings, canonical or username, caller.ip)
    place = place_of(canonical or username, caller.ip)
    try:
        attempt = await deps.store.throttle.reserve(windows, deps.clock(), place)
    except TooManyAttempts:
        await audit(deps, caller, events.throttled, outcome="failure", kept=False)
        raise
    async with deps.store.throttle.release_on_failure(attempt):
        found = await deps.store.users.find_by_name(canonical or "")
        user, credentials, _ = found or (None, None, None)
        usable = credentials.hash if credentials and user and user.status == "active" else None
        forms = await forms_in_use(deps, service, usable)
        verdict = await deps.hasher.check(usable, password, name=canonical or username, forms=forms)
    # The attempt stays undecided for as long as the check takes, for an unknown name too. An attempt that a full lane
    # did not check counts: else such an answer would tell a name with an imported hash from all others.
    completes = verdict.right and found is not None and missing(found) is None
    right = None if verdict.right and not completes else verdict.right
    await deps.store.throttle.settle(attempt, right=right)
    if not verdict.checked:
        raise Overloaded("too many passwords are being checked, try again")
    if not verdict.right or found is None or user is None:
        await note_lock(deps, attempt, user.sub if user else None)
        about = About(user.sub if user else None)
        details: dict[str, Any] = {"unusable_hash": verdict.unusable} if verdict.unusable else {}
        await audit(deps, caller, events.failed, about, outcome="failure", **details)
        raise InvalidCredentials("unknown username or wrong password")
    return found


def refuse_long(password: str) -> None:
    """Raise InvalidRequest for a password that is longer than any account's, before it costs time."""
    if too_long(password):
        raise InvalidRequest(f"a password has at most {MAX_BYTES} bytes")


def _canonical(username: str) -> str | None:
    try:
        return normalise(username)
    except InvalidRequest:
        return None  # an impossible name is treated like an unknown one


async def _rehash_if_outdated(deps: Deps, account: Account, password: str) -> None:
    stored = account.credentials and account.credentials.hash
    if not stored or not deps.hasher.outdated(stored) or not read_whole(stored, password):
        return
    sub = account.user.sub
    try:
        fresh = await deps.hasher.hash(password)
    except Overloaded:
        return  # the next login tries again
    with suppress(NotFound, TooManyChanges):  # the user was deleted meanwhile, or another login does the same
        await deps.store.credentials.change(sub, lambda held: held.rehashed(stored, fresh), durable=False)
