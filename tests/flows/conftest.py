"""The flows without the web around them: shorthands, and a count of what they ask of the hasher."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from authsvc.composition import open_deps
from authsvc.core.client import BUILT_IN, Client
from authsvc.core.event import Entry
from authsvc.core.record import Service
from authsvc.core.session import Active, Inactive
from authsvc.core.user import User
from authsvc.errors import AuthError, NotFound
from authsvc.flows import clients, users
from authsvc.flows.deps import OPERATOR, Caller, Deps
from authsvc.flows.grants import Grant
from authsvc.flows.introspect import note_use
from authsvc.flows.login import login
from authsvc.flows.refresh import refresh
from authsvc.settings import Settings
from authsvc.store.encoding import load
from authsvc.store.records import Records
from tests.conftest import PASSWORD, PATIENT, Clock, verdict_on

HERE = Caller(ip="192.0.2.1", user_agent="a test", request_id="r-1")


async def use(deps: Deps, token: str) -> Active | Inactive:
    """Decide about a token, and count an active one as used, as a request does that nothing refuses."""
    verdict = await verdict_on(deps, token)
    if isinstance(verdict, Active):
        note_use(deps, verdict, deps.clock())
    return verdict


@dataclass
class World:
    """One worker of the service, seen from the flows. `app`: the built-in public client."""

    deps: Deps
    app: Client

    async def user(self, username: str = "ada", password: str | None = PASSWORD, **fields: Any) -> User:
        user, _ = await users.create(self.deps, OPERATOR, username=username, password=password, **fields)
        return user

    async def client(self, *permissions: str, **fields: Any) -> Client:
        client, _ = await clients.create(self.deps, OPERATOR, name="a test's client", permissions=permissions, **fields)
        return client

    async def login(
        self,
        username: str = "ada",
        password: str = PASSWORD,
        *,
        client: Client | None = None,
        service: Service | None = None,
        caller: Caller = HERE,
        **fields: Any,
    ) -> Grant:
        if client is None:  # read anew for each call, as the web does: its cut-off may have been raised
            client = await self.deps.store.clients.get(BUILT_IN)
        return await login(
            self.deps,
            caller,
            client,
            service or await self.deps.store.service.get(),
            username=username,
            password=password,
            **fields,
        )

    async def refresh(
        self,
        presented: str | None,
        *,
        client: Client | None = None,
        scope: str | None = None,
        caller: Caller = HERE,
    ) -> Grant:
        assert presented is not None
        return await refresh(self.deps, caller, client or self.app, presented, scope)

    async def me(self, grant: Grant) -> Active:
        verdict = await use(self.deps, grant.access_token)
        assert isinstance(verdict, Active), verdict
        return verdict

    async def active(self, token: str | None) -> bool:
        assert token is not None
        return isinstance(await use(self.deps, token), Active)

    async def alive(self, grant: Grant) -> bool:
        """Whether the session is: both of its tokens, which must agree."""
        opened = {await self.active(grant.access_token)}
        if grant.refresh_token is not None:
            opened.add(await self.active(grant.refresh_token))
        assert len(opened) == 1, "one token of the session is active and the other is not"
        return opened.pop()

    async def events(self) -> list[Entry]:
        """The audit trail, oldest first."""
        await self.deps.store.sessions.finish()
        return [stored.entry async for stored in self.deps.store.audit.backwards()][::-1]


async def world_of(deps: Deps) -> World:
    return World(deps, await deps.store.clients.get(BUILT_IN))


@pytest.fixture
async def world(deps: Deps) -> World:
    return await world_of(deps)


@pytest.fixture
async def workers(world: World, valkey_url: str, settings: Settings, clock: Clock) -> AsyncIterator[list[World]]:
    """Three workers of the service over one store, each with connections of its own."""
    async with (
        open_deps(settings, valkey_url, clock, timeouts=PATIENT) as second,
        open_deps(settings, valkey_url, clock, timeouts=PATIENT) as third,
    ):
        yield [world, await world_of(second), await world_of(third)]


async def caught(work: Awaitable[Any]) -> Any:
    """What the work returns, or the refusal that it raises."""
    try:
        return await work
    except AuthError as error:
        return error


def without_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write records without comparing: what two callers read before the first one writes is used twice."""

    async def blind(self: Any, id_: str, decide: Callable[[Any], Any], **_: Any) -> Any:
        raw = await self._connection.call("GET", self.key(id_))
        if raw is None:
            raise NotFound("no such record")
        old = load(self._model, raw)
        new, decided = decide(old)
        if new is not old:
            await self._connection.call("SET", self.key(id_), new.to_json(), "PXAT", (new.expires_at() or 2**40) * 1000)
        return new, decided

    monkeypatch.setattr(Records, "step", blind)


@dataclass
class Hashes:
    """How often argon2 was really run, to verify and to hash."""

    verified: int = 0
    hashed: int = 0
    stored: list[str] = field(default_factory=list)


@pytest.fixture
def hashes(deps: Deps, monkeypatch: pytest.MonkeyPatch) -> Hashes:
    """Counts what reaches argon2 and lets it through."""
    seen, argon2 = Hashes(), deps.hasher._argon2

    class Counting:
        def verify(self, stored: str, password: str) -> bool:
            seen.verified += 1
            seen.stored.append(stored)
            return argon2.verify(stored, password)

        def hash(self, password: str) -> str:
            seen.hashed += 1
            return argon2.hash(password)

        def check_needs_rehash(self, stored: str) -> bool:
            return argon2.check_needs_rehash(stored)

    monkeypatch.setattr(deps.hasher, "_argon2", Counting())
    return seen
