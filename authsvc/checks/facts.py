"""The facts that the checks judge: the settings, the store, its directory, the records, the time of a password hash."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from authsvc.core.address import is_loopback
from authsvc.core.api_key import is_expiring
from authsvc.core.client import Client
from authsvc.core.hash_form import Form
from authsvc.core.imported_hash import is_weak
from authsvc.core.imported_hash_text import problem_of
from authsvc.core.user import User
from authsvc.errors import InvalidRequest, StartupError, StoreUnavailable
from authsvc.flows import api_keys
from authsvc.flows.bootstrap import refuse_wrong_factor_key
from authsvc.flows.deps import Deps
from authsvc.flows.store_format import refuse_newer_format
from authsvc.hashing.cost import cost_of
from authsvc.ops.data_dir import Foreign, foreign_part, free_bytes, is_embedded
from authsvc.ops.inspection import Denied, Inspection, denied, inspect
from authsvc.ops.location import location
from authsvc.settings import Settings, given_in_files

# How many keys of a user are looked at in a step.
_KEYS = 100


@dataclass(frozen=True, slots=True)
class Address:
    """Where a configured store is. `local`: on this machine, as a socket or on the loopback interface.

    unverified: its certificate is not looked at, or not its name, because the URL says so.
    open_sentinels: its sentinels are asked without TLS, though the store itself has TLS.
    """

    tls: bool
    local: bool
    socket: bool
    password: bool
    unverified: bool = False
    open_sentinels: bool = False

    @classmethod
    def of(cls, url: str) -> "Address":
        parts = urlsplit(url)
        login, _, hosts = parts.netloc.rpartition("@")
        socket = parts.scheme == "unix"
        options = {name.lower(): value.lower() for name, value in parse_qsl(parts.query)}
        no = options.get("ssl_check_hostname") in ("false", "no", "0", "f", "n")
        return cls(
            tls=parts.scheme.startswith("rediss"),
            local=socket or all(is_loopback(_host(host)) for host in hosts.split(",")),
            socket=socket,
            password=bool(login.partition(":")[2]) or "password" in options,
            unverified=no or options.get("ssl_cert_reqs", "required") != "required",
            open_sentinels=parts.scheme == "rediss+sentinel" and options.get("sentinel_tls") == "no",
        )


@dataclass(frozen=True, slots=True)
class Records:
    """The records in the store. `admins`: active users with that role; `locked_out`: those without a password.

    uncheckable: the number of users whose hash the service refuses to check. weak_forms: the forms of imported hashes
    in use that an attacker guesses fast. unfit_forms: the reasons why this machine cannot check other forms in use.
    newer_format, wrong_key: why a start on this store fails, and what to do. None: it does not fail.
    expiring: users with a key that ends soon. key_users: how many users ever had a key.
    """

    used: bool
    clients: tuple[Client, ...] = ()
    admins: tuple[str, ...] = ()
    locked_out: tuple[str, ...] = ()
    uncheckable: int = 0
    weak_forms: tuple[str, ...] = ()
    unfit_forms: tuple[str, ...] = ()
    expiring: tuple[str, ...] = ()
    key_users: int = 0
    newer_format: StartupError | None = None
    wrong_key: StartupError | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """All facts. `problem`: why the store could not be asked. The facts that come after it are empty then.

    todo: what to do about the problem, if that is known. hash_ms: how long a password hash takes; None: not measured.
    denied: None where our rights could not be tried.
    where: the store in words. address: None for the embedded store.
    data_mode: permissions of its directory, None where there is none.
    data_fault: what others can change in this directory. free_bytes: on its disk.
    """

    settings: Settings
    now: float
    hash_ms: float | None = None
    in_files: frozenset[str] = frozenset()
    where: str = "the store"
    address: Address | None = None
    data_mode: int | None = None
    data_fault: Foreign | None = None
    free_bytes: int | None = None
    problem: str | None = None
    todo: str | None = None
    servers: tuple[Inspection, ...] = ()
    records: Records | None = None
    denied: Denied | None = None


@dataclass(slots=True)
class Seen:
    """The facts that the store has told so far. A store may fail in between."""

    denied: Denied | None = None
    servers: tuple[Inspection, ...] = ()
    records: Records | None = None


def facts_of(configured: Settings, seen: Seen, now: float, **more: Any) -> Facts:
    """The facts about these settings, and what was seen of their store. more: further fields. Blocks."""
    url = configured.redis_url
    if url is not None and is_embedded(url, configured.data_dir):  # a worker knows the URL of the embedded store
        url = None
    return Facts(
        settings=configured,
        now=now,
        in_files=given_in_files(),
        where=location(url, configured.data_dir),
        address=None if url is None else Address.of(url),
        data_mode=_mode(configured) if url is None else None,
        data_fault=_fault(configured) if url is None else None,
        free_bytes=free_bytes(configured.data_dir) if url is None else None,
        servers=seen.servers,
        records=seen.records,
        denied=seen.denied,
        **more,
    )


async def at_once(deps: Deps) -> Facts:
    """The facts that take a few round trips: without the records, and without the time of a password hash."""
    seen, problem = Seen(), None
    try:
        await _look_at_servers(seen, deps)
    except StoreUnavailable as error:
        problem = error
    told = {} if problem is None else {"problem": str(problem), "todo": problem.todo}
    return await asyncio.to_thread(facts_of, deps.settings, seen, deps.clock(), **told)


async def look(seen: Seen, deps: Deps) -> None:
    """See everything in the store. Raises StoreUnavailable; `seen` has what was seen before."""
    await _look_at_servers(seen, deps)
    seen.records = await _records(deps)


async def _look_at_servers(seen: Seen, deps: Deps) -> None:
    seen.denied = await denied(deps.store.connection, deps.fitness.rights)  # first: the rest needs these rights
    seen.servers = await inspect(deps.store.connection)


async def _records(deps: Deps) -> Records:
    service = await deps.store.service.find()
    if service is None:
        return Records(used=False)
    clients = [client async for client in deps.store.listing.every_client()]
    admins: list[User] = []
    with_keys: list[User] = []
    async for user in deps.store.listing.every_user():
        admins += [user] if user.is_admin else []
        with_keys += [user] if user.key_epoch is not None else []
    credentials = await deps.store.credentials.find_all([user.sub for user in admins])
    names = [user.username or user.sub for user in admins]
    locked_out = [name for name, held in zip(names, credentials, strict=True) if held is None or held.hash is None]
    uncheckable = 0
    async for one in deps.store.listing.every_credentials():
        uncheckable += one.hash is not None and problem_of(one.hash) is not None
    return Records(
        used=True,
        clients=tuple(_sorted(clients)),
        admins=tuple(sorted(names)),
        locked_out=tuple(sorted(locked_out)),
        uncheckable=uncheckable,
        unfit_forms=tuple([why for form in service.hash_forms if (why := await asyncio.to_thread(_unfit, form))]),
        expiring=tuple(
            sorted([user.username or user.sub for user in with_keys if await _has_expiring(deps, user.sub)])
        ),
        key_users=len(with_keys),
        newer_format=_refusal(lambda: refuse_newer_format(service)),
        wrong_key=_refusal(lambda: refuse_wrong_factor_key(service, deps.settings.factor_keys)),
        weak_forms=tuple(form for form in service.hash_forms if is_weak(Form.parse(form))),
    )


def _refusal(look: Callable[[], None]) -> StartupError | None:
    """The StartupError that the call raises; None if it raises none."""
    try:
        look()
    except StartupError as error:
        return error
    return None


async def _has_expiring(deps: Deps, sub: str) -> bool:
    """Whether a key of this user ends soon. The keys that end first come first. A page may have dead keys only."""
    cursor: str | None = None
    while True:
        found, cursor = await api_keys.page(deps, sub, cursor, _KEYS)
        if found or cursor is None:
            return bool(found) and is_expiring(found[0].session, deps.clock())


def _unfit(form: str) -> str | None:
    """Why a hash of this form is not checked as it should be here; None if it is. Blocks."""
    try:
        cost_of(Form.parse(form))
    except (InvalidRequest, StartupError) as error:
        return str(error)
    return None


def _sorted(clients: Sequence[Client]) -> list[Client]:
    return sorted(clients, key=lambda client: (client.created_at, client.client_id))


def _mode(configured: Settings) -> int | None:
    try:
        return configured.data_dir.stat().st_mode & 0o777
    except OSError:
        return None


def _fault(configured: Settings) -> Foreign | None:
    directory = configured.data_dir.resolve()
    try:
        return foreign_part(directory, directory.stat().st_uid)
    except OSError:
        return None


def _host(netloc: str) -> str:
    return unquote(netloc.partition("]")[0].lstrip("[") if netloc.startswith("[") else netloc.partition(":")[0])
