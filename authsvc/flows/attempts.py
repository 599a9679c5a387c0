"""The windows in which attempts at a secret count."""

from authsvc.core.address import is_within, prefixes, source_of
from authsvc.flows.deps import Deps
from authsvc.settings import Settings
from authsvc.store.throttle import Place, Reservation, Window


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


# The limits that lock an account wherever its owner is, except in known networks.
LOCKS = frozenset({"account", "factor"})


def lock_windows(settings: Settings, name: str | None, sub: str) -> list[Window]:
    """The windows that lock an account. name: canonical; None for a user without a name."""
    of_name = [] if name is None else [Window(settings.limits.account, name)]
    return [*of_name, *factor_windows(settings, sub)]


def address_windows(settings: Settings, ip: str | None) -> list[Window]:
    """The windows of an address, for whatever is guessed. None for a network that the settings exempt."""
    limits, (address, network) = settings.limits, prefixes(ip)
    if is_within(ip, settings.unlimited_networks):
        return []
    windows = [Window(limits.address, address)]
    return windows if network is None else [*windows, Window(limits.network, network)]


def passkey_windows(settings: Settings, ip: str | None) -> list[Window]:
    """The window in which the beginnings of logins by passkey alone count. None for an exempted network."""
    return [] if is_within(ip, settings.unlimited_networks) else [Window(settings.limits.passkey, prefixes(ip)[0])]


def leak_windows(settings: Settings, ip: str | None) -> list[Window]:
    """The window in which reports of leaked tokens count. None for an exempted network."""
    return [] if is_within(ip, settings.unlimited_networks) else [Window(settings.limits.leak, prefixes(ip)[0])]


def factor_windows(settings: Settings, sub: str) -> list[Window]:
    """The window in which a guess at a second factor of this user counts, in whichever login."""
    return [Window(settings.limits.factor, sub)]


async def note_lock(deps: Deps, attempt: Reservation, sub: str | None) -> None:
    """Enter an account into the index of locked accounts, if this wrong attempt has locked it.

    sub: None for a name that nobody has, which takes as long.
    """
    until = deps.store.throttle.locks_until(attempt, LOCKS)
    if until is not None:
        await deps.store.locked.enter(sub, until, deps.clock())
