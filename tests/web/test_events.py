"""`GET /events` over the whole application: its contract, who may listen, and that no change goes untold."""

import asyncio
import re
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
import redis

from authsvc.app import build
from authsvc.composition import open_deps
from authsvc.driver.tracking import Tracking
from authsvc.flows import clients
from authsvc.flows.deps import OPERATOR, Deps
from authsvc.flows.events import RECHECK_S
from authsvc.settings import Settings
from authsvc.store import keys
from authsvc.store.subscription import now_ms
from tests.conftest import CHEAP, PATIENT, Clock, Service
from tests.outages.world import BY_NAME, CALLS, MAX_SESSIONS, Snapshot, World, fresh, make, save
from tests.processes import until
from tests.selection import one_in
from tests.streams import Stream, named
from tests.web.conftest import assert_problem

# The keys that an answer depends on, which is what the contract names.
DEPENDED_ON = re.compile(rb"session:|user:|client:|service$")
PROMPTLY_S = 0.5


async def test_the_contract(service: Service) -> None:
    """A stream of server-sent events, not to be stored or buffered, that begins with `everything`."""
    async with Stream(service.app, service.admin) as stream:
        headers = dict(stream.headers)
        assert stream.status == 200
        assert headers[b"content-type"] == b"text/event-stream"
        assert headers[b"cache-control"] == b"no-store"
        assert headers[b"x-accel-buffering"] == b"no"
        assert b"content-length" not in headers
        await stream.next("heartbeat")
        await stream.next("heartbeat")
        await service.deps.store.service.change(lambda held: held.but(epoch=held.epoch + 1))
        await stream.forgets("service")
        digest = keys.digest(b"service")
        assert re.fullmatch(
            rb"event: everything\ndata: \{\"at\":[0-9.]+\}\n\n(event: heartbeat\ndata: \{\"at\":[0-9.]+\}\n\n){2}"
            rb"event: forget\ndata: \[\"" + digest.encode() + rb"\"\]\n\n",
            stream.body,
        )


def test_the_digest_of_a_key() -> None:
    """The digest that other programs have to compute, by an example that was computed without our code."""
    # printf 'user:{4fQ0kzPq1LxA}' | openssl dgst -sha256 -binary | head -c16 | basenc --base64url
    assert keys.digest(b"user:{4fQ0kzPq1LxA}") == "Nj8kEPb0oMSnk0OhWvjqAg"


@pytest.mark.slow
async def test_a_heartbeat_each_second(service: Service) -> None:
    """Signs of life come a second apart, so that a subscriber can tell silence from peace."""
    async with Stream(service.app, service.admin) as stream:
        beats = [await stream.next("heartbeat") for _ in range(4)]
    gaps = [later.at - earlier.at for earlier, later in pairwise(beats)]
    assert all(0.8 < gap < 1.5 for gap in gaps)


async def test_a_heartbeat_says_when(service: Service) -> None:
    """By the differences of `at` a subscriber can tell how old a heartbeat is, from the first event on."""
    async with Stream(service.app, service.admin) as stream:
        first = await stream.next("everything")
        beats = [await stream.next("heartbeat") for _ in range(3)]
    for beat in beats:
        age = (beat.at - first.at) - (beat.data["at"] - first.data["at"]) / 1000
        assert -PROMPTLY_S < age < PROMPTLY_S


async def test_a_heartbeat_counts_from_the_question(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat's moment is before the store was asked: what changes while it answers is not vouched for."""
    asked = []
    check_role = Tracking.check_role

    async def slowly(self: Tracking) -> None:
        asked.append(now_ms())
        await check_role(self)
        await asyncio.sleep(0.2)

    monkeypatch.setattr(Tracking, "check_role", slowly)
    async with Stream(service.app, service.admin) as stream:
        beats = [await stream.next("heartbeat") for _ in range(2)]
    assert all(beat.data["at"] <= moment for beat, moment in zip(beats, asked, strict=False))


async def test_who_may_listen(service: Service) -> None:
    """Only a client with the permission `introspect`, which says so by HTTP Basic and not in a URL."""
    _, listener = await service.client("introspect")
    _, other = await service.client("revoke", "issue", "reset", "admin")
    get = service.http.get
    assert (await get("/events", auth=listener)).status_code == 200
    assert_problem(await get("/events"), 401, "invalid_client")
    assert_problem(await get("/events", auth=(listener[0], other[1])), 401, "invalid_client")
    assert_problem(await get("/events", auth=("nobody", other[1])), 401, "invalid_client")
    # Basic without a secret counts as the name of a public client, which has no permission.
    assert_problem(await get("/events", auth=("app", "")), 403, "unauthorized_client")
    assert_problem(await get("/events", auth=other), 403, "unauthorized_client")
    assert_problem(await get("/events?since=1", auth=listener), 400, "invalid_request")
    assert (await service.http.head("/events", auth=listener)).content == b""


async def test_nobody_listens_while_the_store_is_out_of_reach(service: Service, valkey: "redis.Redis") -> None:
    """Without the store nobody is known to be allowed: 503, like everything else."""
    valkey.delete("service")
    assert_problem(await service.http.get("/events", auth=service.admin), 503, "temporarily_unavailable")


@pytest.fixture
async def world(valkey: "redis.Redis", valkey_url: str, clock: Clock) -> AsyncIterator[World]:
    async with open_deps(Settings(**CHEAP, max_sessions=MAX_SESSIONS), valkey_url, clock, timeouts=PATIENT) as deps:
        world = await fresh(deps, clock, valkey)
        try:
            yield world
        finally:
            await world.http.aclose()


def changed_between(old: Snapshot, new: Snapshot) -> set[str]:
    """The digests of the keys that an answer may depend on and whose values differ."""
    absent = (b"", 0)
    changed = {key for key in old.keys() | new.keys() if old.get(key, absent)[0] != new.get(key, absent)[0]}
    return {keys.digest(key) for key in changed if DEPENDED_ON.match(key)}


@pytest.mark.parametrize("name", one_in(10, (call.name for call in CALLS if not call.reads or call.later_s)))
async def test_every_change_is_told(world: World, valkey: "redis.Redis", clock: Clock, name: str) -> None:
    """Each call that changes a record of an answer announces the record's key, promptly and after the change."""
    call = BY_NAME[name]
    async with Stream(build(world.deps), world.web) as stream:
        await stream.next("heartbeat")
        clock.forward(call.later_s)
        before = save(valkey)
        assert (await call.make(world)).status_code == call.usual
        await world.deps.store.sessions.finish()
        expected = changed_between(before, save(valkey))
        await stream.until(lambda: expected <= stream.forgotten(), PROMPTLY_S)
        assert "everything" not in [told.name for told in stream.told[1:]]


async def test_a_change_is_there_when_it_is_told(service: Service, valkey: "redis.Redis") -> None:
    """A client that asks again after an announcement gets the new answer."""
    await service.user()
    async with Stream(service.app, service.admin) as stream:
        await stream.next("everything")
        for _ in range(50):
            granted = await service.login()
            token, handle = granted["access_token"], granted["session_id"]
            await stream.forgets(keys.session(handle))
            assert await service.active(token)
            told = asyncio.create_task(stream.next("forget"))
            answer, _ = await asyncio.gather(
                service.http.post("/revoke", data={"token": token}, auth=service.admin),
                told,
            )
            assert answer.status_code == 200
            assert not await service.active(token)


async def withdraw_by_deletion(deps: Deps, client_id: str) -> None:
    await clients.delete(deps, OPERATOR, client_id)


async def withdraw_by_permission(deps: Deps, client_id: str) -> None:
    await clients.update(deps, OPERATOR, client_id, permissions=("revoke",))


async def withdraw_by_rotation(deps: Deps, client_id: str) -> None:
    await clients.rotate_secret(deps, OPERATOR, client_id, 0)


@pytest.mark.parametrize("withdraw", [withdraw_by_deletion, withdraw_by_permission, withdraw_by_rotation])
async def test_a_client_that_may_not_listen_any_more(service: Service, withdraw: object) -> None:
    """Its stream ends at once, and others go on."""
    client, auth = await service.client("introspect")
    async with Stream(service.app, auth) as stream, Stream(service.app, service.admin) as other:
        await stream.next("heartbeat")
        await withdraw(service.deps, client.client_id)  # type: ignore[operator]  # one of those above
        await stream.until(lambda: stream.ended, PROMPTLY_S)
        await other.forgets(keys.client(client.client_id))
        await other.next("heartbeat")
        assert not other.ended


async def test_another_change_of_the_client_ends_nothing(service: Service) -> None:
    """A client that was renamed, or whose secret was rotated with an overlap, goes on listening."""
    client, auth = await service.client("introspect")
    async with Stream(service.app, auth) as stream:
        await stream.next("heartbeat")
        await clients.update(service.deps, OPERATOR, client.client_id, name="renamed")
        await clients.rotate_secret(service.deps, OPERATOR, client.client_id, 60)
        await stream.next("heartbeat")
        await stream.next("heartbeat")
        assert not stream.ended


async def test_a_secret_whose_overlap_is_over(service: Service, clock: Clock) -> None:
    """Nothing is written when a rotated secret runs out; its streams end soon after all the same."""
    client, auth = await service.client("introspect")
    async with Stream(service.app, auth) as stream:
        await stream.next("heartbeat")
        await clients.rotate_secret(service.deps, OPERATOR, client.client_id, 60)
        clock.forward(61 + RECHECK_S)
        await stream.until(lambda: stream.ended, 3)


async def test_a_permission_that_cannot_be_checked(service: Service, valkey: "redis.Redis") -> None:
    """While nobody can say, the stream stays; when the answer is no, it ends."""
    client, auth = await service.client("introspect")
    key = keys.client(client.client_id)
    async with Stream(service.app, auth) as stream:
        await stream.next("heartbeat")
        valkey.set(key, "not a record")
        await stream.forgets(key)
        await stream.next("heartbeat")
        await stream.next("heartbeat")
        assert not stream.ended
        valkey.delete(key)
        await stream.until(lambda: stream.ended, PROMPTLY_S)


async def test_leaving_frees_the_connection(service: Service, valkey: "redis.Redis") -> None:
    """The store is followed by one connection while anybody listens, and by none otherwise."""
    assert listening(valkey) == 0
    async with Stream(service.app, service.admin) as one:
        await one.next("everything")
        async with Stream(service.app, service.admin) as another:
            await another.next("everything")
            assert listening(valkey) == 1
        assert listening(valkey) == 1
        await one.next("heartbeat")
    await asyncio.to_thread(until, lambda: listening(valkey) == 0)
    async with Stream(service.app, service.admin) as again:
        await again.next("heartbeat")


def listening(valkey: "redis.Redis") -> int:
    return sum(client["name"] == "authsvc-events" for client in valkey.client_list())


async def test_closing_the_service_ends_its_streams(valkey: "redis.Redis", valkey_url: str, clock: Clock) -> None:
    """When the parts of the service are given back, no stream is left open."""
    async with open_deps(Settings(**CHEAP), valkey_url, clock, timeouts=PATIENT) as deps:
        world = await make(deps, clock)
        stream = await Stream(build(deps), world.web).__aenter__()
        await stream.next("everything")
    await stream.until(lambda: stream.ended, PROMPTLY_S)
    await stream.__aexit__()
    await world.http.aclose()


async def test_nothing_is_said_in_clear(service: Service) -> None:
    """A stream has digests and no names: no handle, no subject, no client."""
    client, _ = await service.client()
    user = await service.user()
    async with Stream(service.app, service.admin) as stream:
        await stream.next("everything")
        granted = await service.login()
        await service.http.post("/logout", headers={"Authorization": f"Bearer {granted['access_token']}"})
        await clients.delete(service.deps, OPERATOR, client.client_id)
        await stream.forgets(keys.session(granted["session_id"]), keys.client(client.client_id))
        for secret in (granted["session_id"], user.sub, client.client_id, "ada"):
            assert secret.encode() not in stream.body
        assert named(keys.session(granted["session_id"])) <= stream.forgotten()
