"""The context of all rows: the options, the servers that several rows need, and the preparation of a row."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import httpx

from bench import loads, servers, wrk
from bench.servers import ROOT, BenchError, Service, Store
from bench.wrk import Figures, Target

T = TypeVar("T")

LIVE = 10_000
LOGIN_USERS = 1000
MOST_ONCE = 200_000
# For each second of a round. The service answers more, so that such a round is shorter than others.
ONCE_EACH_S = 10_000
AUDIENCE = "https://orders.example"
# A target is asked for so long before the first round, or as long as in a round if that is shorter: then caches and
# node's compiler are warm.
WARM_S = 3


@dataclass(frozen=True)
class Options:
    """The length and the number of the rounds, and the sizes of rows 6, 9, 10, 13, 18 and 19."""

    rounds: int
    seconds: float
    many: int
    revocations: int
    refusals: int

    @property
    def once(self) -> int:
        """How many tokens are asked for once, in all rounds together."""
        return min(MOST_ONCE, int(ONCE_EACH_S * self.rounds * self.seconds))


@dataclass(frozen=True)
class Turn:
    """One row that takes turns with others. key: its name in the results. measure: runs one round."""

    key: str
    measure: Callable[[], Figures]


@dataclass(frozen=True)
class Parties:
    """A service with its store. resource: the client that introspects. app: the client of the logins.

    Both clients are an id and a secret. now: the time of the sessions, so that they fit to their users.
    """

    store: Store
    service: Service
    resource: tuple[str, str]
    app: tuple[str, str]
    now: float


class Bench:
    """The servers that rows share. Each starts when the first row needs it.

    checkout: the folder of the code that is measured.
    """

    def __init__(self, stack: ExitStack, directory: Path, options: Options, checkout: Path = ROOT) -> None:
        self.stack = stack
        self.directory = directory
        self.options = options
        self.checkout = checkout
        self.facts: dict[str, Any] = {}

    @property
    def host(self) -> "Bench":
        """The bench that has filled the stores."""
        return self

    def start(self, context: AbstractContextManager[T]) -> T:
        return self.stack.enter_context(context)

    @cached_property
    def store(self) -> Store:
        return self.start(servers.store(self.directory))

    def serving(self, name: str, store: Store, **changes: Any) -> AbstractContextManager[Service]:
        """The service of the checkout on this store. changes: of its cores and settings."""
        return servers.authsvc(self.directory, name, store, checkout=self.checkout, **changes)

    def joining(self, parties: Parties, name: str) -> Parties:
        """The same parties with a service of this checkout."""
        return parties

    @cached_property
    def parties(self) -> Parties:
        return registered(self.store, self.start(self.serving("authsvc", self.store)))

    @cached_property
    def live(self) -> list[str]:
        """Access tokens of live sessions. Each session has its own user, so no two tokens share a user's record."""
        return self.filled(LIVE)

    @cached_property
    def once(self) -> list[str]:
        """Access tokens that row 18 asks for, each of them once."""
        return self.filled(self.options.once)

    @cached_property
    def once_in_batches(self) -> list[str]:
        """Access tokens that row 6 asks for, each of them once. Batches are faster, so they are more."""
        return self.filled(2 * self.options.once)

    def filled(self, count: int) -> list[str]:
        say(f"filling the store with {count:,} sessions")
        parties = self.parties
        subs = loads.fill_users([self.store], count, parties.now)
        return loads.fill_sessions([self.store], subs, loads.under(self.store, parties.app[0]), parties.now)

    @cached_property
    def password_hash(self) -> str:
        found = loads.hashed_password()
        _ = self.parties  # the start of the service writes the service record
        loads.fill_logins(self.store, LOGIN_USERS, found)
        return found

    def prepared(self, target: Target) -> Target:
        target = wrk.prepared(target, self.directory)
        wrk.measure(target, min(WARM_S, self.options.seconds))
        return target

    def turn(self, key: str, target: Target) -> Turn:
        target = self.prepared(target)
        return Turn(key, lambda: wrk.measure(target, self.options.seconds))

    def turn_once(self, key: str, target: Target, answer_bytes: float) -> Turn:
        """A row whose bodies are sent once: each round sends another part of them.

        answer_bytes: the mean size of a right answer. A sample would ask for tokens before the first round.
        """
        rounds = self.options.rounds
        parts = []
        for number in range(rounds):
            part = replace(target, choice="once", answer_bytes=answer_bytes, bodies=target.bodies[number::rounds])
            parts.append(wrk.with_file(part, self.directory / f"{key}-{number}.bodies"))
        left = iter(parts)
        return Turn(key, lambda: wrk.measure(next(left), self.options.seconds))

    def introspection(self, parties: Parties, bodies: list[str], name: str = "authsvc", **changes: Any) -> Target:
        fields: dict[str, Any] = {"path": "/introspect", "right": wrk.active} | changes
        return Target(name, parties.service.port, credentials=":".join(parties.resource), bodies=bodies, **fields)


class Guest(Bench):
    """The bench of another checkout. Its services run on the stores of the host, whose records both versions read."""

    def __init__(self, host: Bench, checkout: Path) -> None:
        directory = host.directory / "other"
        directory.mkdir()
        super().__init__(host.stack, directory, host.options, checkout)
        self._host = host

    @property
    def host(self) -> Bench:
        return self._host

    @cached_property
    def store(self) -> Store:
        return self._host.store

    def joining(self, parties: Parties, name: str) -> Parties:
        return replace(parties, service=self.start(self.serving(name, parties.store)))

    @cached_property
    def parties(self) -> Parties:
        return self.joining(self._host.parties, "authsvc")

    @cached_property
    def live(self) -> list[str]:
        return self._host.live

    @cached_property
    def once(self) -> list[str]:
        return self._host.once

    @cached_property
    def once_in_batches(self) -> list[str]:
        return self._host.once_in_batches

    @cached_property
    def password_hash(self) -> str:
        return self._host.password_hash


def registered(store: Store, service: Service) -> Parties:
    """Register over HTTP a resource server that may introspect, and an app whose tokens are for it."""
    if service.admin is None:
        raise BenchError("the store was not empty")
    with httpx.Client(base_url=service.url, auth=service.admin) as http:
        resource = created(http, name="orders backend", permissions=["introspect"], audience=[AUDIENCE])
        # A day, so that all tokens outlive the bench.
        app = created(http, name="orders app", audience=[AUDIENCE], access_ttl_s=86400)
    by_secret = [(client["client_id"], client["client_secret"]) for client in (resource, app)]
    return Parties(store, service, by_secret[0], by_secret[1], time.time())


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
