"""Logging in with a username and a password."""

from contextlib import suppress
from typing import Any, NamedTuple

from authsvc.core import scope as scopes
from authsvc.core.address import is_within, prefixes, source_of
from authsvc.core.client import Client
from authsvc.core.event import About, Event
from authsvc.core.issuing import Opening
from authsvc.core.password import MAX_BYTES, too_long
from authsvc.core.record import Service
from authsvc.core.user import Credentials, User
from authsvc.core.username import normalise
from authsvc.errors import (
    InvalidCredentials,
    InvalidRequest,
    NotFound,
    Overloaded,
    TooManyAttempts,
    TooManyChanges,
)
from authsvc.flows.deps import Caller, Deps, audit
from authsvc.flows.grants import Grant, open_session
from authsvc.flows.hash_forms import forms_in_use
from authsvc.hashing.imported import read_whole
from authsvc.settings import Settings
from authsvc.store.throttle import Place, Window


async def login(
    deps: Deps,
    caller: Caller,
    client: Client,
    *,
    username: str,
    password: str,
    scope: str = "",
    device: str | None = None,
    cookie: bool = False,
) -> Grant:
    """Open a session for a user who proves the password. In cookie mode the session has no refresh token.

    Unknown user, suspended user, missing password and wrong password get the same answer after the same work.
    Raises InvalidCredentials, TooManyAttempts, Overloaded, InvalidScope, InvalidRequest.
    """
    refuse_long(password)
    granted = scopes.within(scope, client.widest_scope(deps.settings.app_scope))
    # Read before the password is checked: a cut-off from here on ends the session of this login too.
    service = await deps.store.service.get()
    attempt = AttemptEvents(Event.LOGIN_FAILED, Event.LOGIN_THROTTLED)
    user, credentials = await authenticate(deps, caller, service, username, password, attempt)
    refreshable = client.refresh and not cookie
    opening = Opening(
        user=user,
        client=client,
        service=service,
        lifetimes=client.lifetimes(refreshable=refreshable, cookie=cookie),
        refreshable=refreshable,
        scope=granted,
        cookie=cookie,
        amr=("pwd",),
        device=device,
        ip=caller.ip,
        user_agent=caller.user_agent,
    )
    grant = await open_session(deps, caller, Event.LOGIN_SUCCEEDED, opening)
    if credentials.hash and deps.hasher.outdated(credentials.hash) and read_whole(credentials.hash, password):
        await _rehash(deps, user.sub, credentials.hash, password)
    return grant


class AttemptEvents(NamedTuple):
    """The events to write when a password is wrong, and when an attempt is throttled."""

    failed: Event
    throttled: Event


async def authenticate(
    deps: Deps, caller: Caller, service: Service, username: str, password: str, events: AttemptEvents
) -> tuple[User, Credentials]:
    """Check a password. The attempt is counted before the hash is computed, and taken back if it was right."""
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
        user, credentials = found or (None, None)
        usable = credentials.hash if credentials and user and user.status == "active" else None
        forms = await forms_in_use(deps, service, usable)
        verdict = await deps.hasher.check(usable, password, name=canonical or username, forms=forms)
    # The attempt stays undecided for as long as the check takes, for an unknown name too. An attempt that a full lane
    # did not check counts: else such an answer would tell a name with an imported hash from all others.
    await deps.store.throttle.settle(attempt, right=verdict.right)
    if not verdict.checked:
        raise Overloaded("too many passwords are being checked, try again")
    if not verdict.right or user is None or credentials is None:
        about = About(user.sub if user else None)
        details: dict[str, Any] = {"unusable_hash": verdict.unusable} if verdict.unusable else {}
        await audit(deps, caller, events.failed, about, outcome="failure", **details)
        raise InvalidCredentials("unknown username or wrong password")
    return user, credentials


def place_of(name: str, ip: str | None) -> Place:
    """The network that becomes known after a right password. `name`: canonical if it can be."""
    return Place(name, prefixes(ip)[0])


def login_windows(settings: Settings, name: str, ip: str | None) -> list[Window]:
    """The windows in which a guess at this account from this address counts. `name`: canonical if it can be.

    Guesses from a known network do not count for the account, and its lock does not hold there. They have a limit of
    their own.
    """
    limits, (address, _) = settings.limits, prefixes(ip)
    windows = [
        Window(limits.pair, f"{name}\n{address}"),
        Window(limits.known, f"{name}\n{address}", known=True),
        Window(limits.source, f"{name}\n{source_of(ip)}", known=False),
        Window(limits.account, name, known=False),
    ]
    return windows + address_windows(settings, ip)


def address_windows(settings: Settings, ip: str | None) -> list[Window]:
    """The windows of an address, for whatever is guessed. None for a network that the settings exempt."""
    limits, (address, network) = settings.limits, prefixes(ip)
    if is_within(ip, settings.unlimited_networks):
        return []
    windows = [Window(limits.address, address)]
    return windows if network is None else [*windows, Window(limits.network, network)]


def refuse_long(password: str) -> None:
    """Raise InvalidRequest for a password that is longer than any account's, before it costs time."""
    if too_long(password):
        raise InvalidRequest(f"a password has at most {MAX_BYTES} bytes")


def _canonical(username: str) -> str | None:
    try:
        return normalise(username)
    except InvalidRequest:
        return None  # an impossible name is treated like an unknown one


async def _rehash(deps: Deps, sub: str, stored: str, password: str) -> None:
    try:
        fresh = await deps.hasher.hash(password)
    except Overloaded:
        return  # the next login tries again
    with suppress(NotFound, TooManyChanges):  # the user was deleted meanwhile, or another login does the same
        await deps.store.credentials.change(sub, lambda held: held.rehashed(stored, fresh), durable=False)
