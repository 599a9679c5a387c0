"""The context of all rows: the options, the servers that several rows need, and the preparation of a row."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import httpx

from bench import loads, servers, wrk
from bench.servers import BenchError, Service, Store
from bench.wrk import Figures, Target

T = TypeVar("T")

LIVE = 10_000
LOGIN_USERS = 1000
AUDIENCE = "https://orders.example"
# A target is asked for so long before the first round, so that caches and node's compiler are warm.
WARM_S = 3


@dataclass(frozen=True)
class Options:
    """The length and the number of the rounds, and the sizes of rows 9, 10 and 13."""

    rounds: int
    seconds: float
    many: int
    revocations: int
    refusals: int


@dataclass(frozen=True)
class Turn:
    """One row that takes turns with others. key: its name in the results. measure: runs one round."""

    key: str
    measure: Callable[[], Figures]


@dataclass(frozen=True)
class Parties:
    """A service with its store. resource: the client that introspects. app: the client of the logins."""

    store: Store
    service: Service
    resource: tuple[str, str]
    app: str
    now: float


class Bench:
    """The servers that rows share. Each starts when the first row needs it."""

    def __init__(self, stack: ExitStack, directory: Path, options: Options) -> None:
        self._stack = stack
        self.directory = directory
        self.options = options
        self.facts: dict[str, Any] = {}

    def start(self, context: AbstractContextManager[T]) -> T:
        return self._stack.enter_context(context)

    @cached_property
    def store(self) -> Store:
        return self.start(servers.store(self.directory))

    @cached_property
    def parties(self) -> Parties:
        service = self.start(servers.authsvc(self.directory, "authsvc", self.store))
        return registered(self.store, service)

    @cached_property
    def live(self) -> list[str]:
        """Access tokens of live sessions. Each session has its own user, so no two tokens share a user's record."""
        say(f"filling the store with {LIVE:,} sessions")
        parties = self.parties
        subs = loads.fill_users([self.store], LIVE, parties.now)
        return loads.fill_sessions([self.store], subs, loads.under(self.store, parties.app), parties.now)

    @cached_property
    def password_hash(self) -> str:
        found = loads.hashed_password()
        _ = self.parties  # the start of the service writes the service record
        loads.fill_logins(self.store, LOGIN_USERS, found)
        return found

    def prepared(self, target: Target) -> Target:
        target = wrk.prepared(target, self.directory)
        wrk.measure(target, WARM_S)
        return target

    def turn(self, key: str, target: Target) -> Turn:
        target = self.prepared(target)
        return Turn(key, lambda: wrk.measure(target, self.options.seconds))

    def introspection(self, parties: Parties, bodies: list[str], name: str = "authsvc", **changes: Any) -> Target:
        fields: dict[str, Any] = {"path": "/introspect", "right": wrk.active} | changes
        return Target(name, parties.service.port, credentials=":".join(parties.resource), bodies=bodies, **fields)


def registered(store: Store, service: Service) -> Parties:
    """Register over HTTP a resource server that may introspect, and an app whose tokens are for it."""
    if service.admin is None:
        raise BenchError("the store was not empty")
    with httpx.Client(base_url=service.url, auth=service.admin) as http:
        resource = created(http, name="orders backend", permissions=["introspect"], audience=[AUDIENCE])
        # A day, so that all tokens outlive the bench.
        app = created(http, name="orders app", audience=[AUDIENCE], access_ttl_s=86400)
    return Parties(store, service, (resource["client_id"], resource["client_secret"]), app["client_id"], time.time())


def created(http: httpx.Client, **fields: object) -> dict[str, str]:
    answer = http.post("/admin/clients", json=fields)
    if answer.status_code != 201:
        raise BenchError(f"a client was not registered: {answer.text}")
    created: dict[str, str] = answer.json()
    return created


def bodies_of(presented: list[str]) -> list[str]:
    return [f"token={token}" for token in presented]


def say(text: str) -> None:
    print(text, flush=True)
