"""`/readyz` on badly configured real stores: 503 with the reason."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import redis

from authsvc.app import build
from authsvc.composition import open_deps
from authsvc.core.record import FORMAT
from authsvc.errors import StartupError
from authsvc.flows.bootstrap import first_start
from authsvc.flows.deps import Deps
from authsvc.ops.fitness import FRESH_S
from authsvc.settings import Settings
from tests.conftest import CHEAP, PATIENT, Clock, Service
from tests.e2e.conftest import free_port
from tests.processes import until
from tests.stores import StoreProcess, debian_redis, is_redis_7_0, running_store
from tests.web.conftest import assert_problem


@asynccontextmanager
async def serving(store: StoreProcess, *, used: bool = True, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The service on this store. used: whether the service was started on it before."""
    configured = Settings(**CHEAP | settings)
    async with open_deps(configured, store.url, Clock(), timeouts=PATIENT) as deps:
        if used:
            await first_start(deps)
        transport = httpx.ASGITransport(app=build(deps))
        async with httpx.AsyncClient(transport=transport, base_url="http://auth.test") as http:
            yield http


def assert_not_ready(answer: httpx.Response, *reasons: str) -> None:
    assert_problem(answer, 503, "temporarily_unavailable")
    assert answer.json()["error_description"] == f"not ready: {', '.join(reasons)}"
    assert answer.headers["retry-after"] == "1"


async def eventually(http: httpx.AsyncClient, condition: Callable[[httpx.Response], bool]) -> httpx.Response:
    """The first answer of this kind.

    The service remembers the state of the store for a moment, so it may take that long.
    """
    deadline = time.monotonic() + FRESH_S + 15
    while not condition(answer := await http.get("/readyz")):
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(0.02)
    return answer


@pytest.mark.slow
async def test_an_evicting_store() -> None:
    """A store that may drop records is unfit. It is fit again a second after the setting is corrected."""
    with running_store("--maxmemory-policy", "allkeys-lru") as store, store.connect() as client:
        async with serving(store) as http:
            assert_not_ready(await http.get("/readyz"), "evicting")
            client.config_set("maxmemory-policy", "noeviction")
            await eventually(http, lambda answer: answer.status_code == 200)
            client.config_set("maxmemory-policy", "volatile-lru")
            assert_not_ready(await eventually(http, lambda answer: answer.status_code == 503), "evicting")


@pytest.mark.parametrize(
    ("options", "fit"),
    [
        (["--appendonly", "no"], False),
        (["--appendonly", "yes", "--appendfsync", "everysec"], False),
        (["--appendonly", "yes", "--appendfsync", "always"], True),
    ],
)
async def test_a_store_without_persistence_at_level_disk(options: list[str], fit: bool) -> None:
    """Level `disk` needs an append-only file that is synced on every write. Level `local` needs no file."""
    with running_store(*options) as store:
        async with serving(store, durability="local") as http:
            assert (await http.get("/readyz")).status_code == 200
        async with serving(store, durability="disk") as http:
            answer = await http.get("/readyz")
            assert answer.status_code == (200 if fit else 503)
            if not fit:
                assert_not_ready(answer, "not_on_disk")


async def test_a_store_without_waitaof_at_level_disk() -> None:
    """Redis 7.0 can't tell what is on its disk. It is fit for the level `local`, and not for `disk`."""
    debian = debian_redis()
    if debian is None or not is_redis_7_0(debian):
        pytest.skip("no Redis 7.0 on the PATH")
    with running_store("--appendonly", "yes", "--appendfsync", "always", binary=debian) as store:
        async with serving(store, durability="local") as http:
            assert (await http.get("/readyz")).status_code == 200
        async with serving(store, durability="disk") as http:
            assert_not_ready(await http.get("/readyz"), "no_waitaof")


@pytest.mark.slow
async def test_a_store_without_a_replica_at_level_replica() -> None:
    """Level `replica` needs a connected replica, and notices when it disconnects."""
    port = free_port()
    with running_store(port=port) as store:
        async with serving(store, used=False, durability="replica") as http:
            async with serving(store):  # so that there is a service record
                pass
            assert_not_ready(await http.get("/readyz"), "too_few_replicas")
            with running_store("--replicaof", f"127.0.0.1 {port}"):
                await eventually(http, lambda answer: answer.status_code == 200)
            assert_not_ready(await eventually(http, lambda answer: answer.status_code == 503), "too_few_replicas")


async def test_a_replica_as_the_store() -> None:
    """A replica is unfit: it refuses writes and may answer old reads.

    The answer names the fault, unless the service was never connected to a primary.
    """
    port = free_port()
    with running_store(port=port) as store:
        async with serving(store):
            pass
        with running_store("--replicaof", f"127.0.0.1 {port}") as replica, replica.connect() as client:
            until(lambda: client.exists("service"))
            async with serving(replica, used=False) as http:
                answer = await http.get("/readyz")
                assert_problem(answer, 503, "temporarily_unavailable")
                assert answer.json()["error_description"] in (
                    "not ready: replica",
                    "the store can't be asked right now",
                )


async def test_a_store_that_is_demoted() -> None:
    """A demoted store is unfit at once, or a second later."""
    with running_store() as store, store.connect() as client:
        async with serving(store) as http:
            assert (await http.get("/readyz")).status_code == 200
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            answer = await eventually(http, lambda answer: answer.status_code == 503)
            reasons = ("not ready: replica", "the store can't be asked right now")
            assert answer.json()["error_description"] in reasons
            client.execute_command("REPLICAOF", "NO", "ONE")
            await eventually(http, lambda answer: answer.status_code == 200)


async def test_several_reasons_are_all_named() -> None:
    """The answer names all faults, so that an operator can correct them together."""
    with running_store("--maxmemory-policy", "allkeys-lru") as store:
        async with serving(store, durability="disk") as http:
            assert_not_ready(await http.get("/readyz"), "evicting", "not_on_disk")


async def test_a_store_that_is_loading() -> None:
    """A store that loads its file has its own reason, different from a store that is gone."""
    with running_store() as store:
        async with serving(store):
            pass
        with store.connect() as client:
            for n in range(200):
                client.set(f"filling:{n}", os.urandom(1000).hex())
            client.save()
        store.process.kill()
        store.process.wait()
        slow = ("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")
        with running_store(*slow, directory=store.directory) as again:
            async with serving(again, used=False) as http:
                assert_not_ready(await http.get("/readyz"), "loading")
                with again.connect() as client:
                    client.config_set("key-load-delay", 0)
                await eventually(http, lambda answer: answer.status_code == 200)


async def test_a_store_that_was_emptied(service: Service, valkey: "redis.Redis") -> None:
    """Without the service record /readyz says so at once."""
    assert (await service.http.get("/readyz")).json() == {"status": "ready"}
    valkey.delete("service")
    assert_not_ready(await service.http.get("/readyz"), "not_set_up")


async def test_a_store_of_a_newer_format(service: Service) -> None:
    """A worker gets no traffic on a store whose format it does not understand."""
    await service.deps.store.service.change(lambda held: held.with_format(FORMAT + 1))
    assert_not_ready(await service.http.get("/readyz"), "newer_format")


async def test_a_store_of_a_newer_format_is_not_started_on(deps: Deps) -> None:
    """A start on such a store is refused, in words for the operator, and never lowers the format."""
    await deps.store.service.change(lambda held: held.with_format(FORMAT + 1))
    with pytest.raises(StartupError, match=f"the store has format {FORMAT + 1}"):
        await first_start(deps)
    assert (await deps.store.service.get()).store_format == FORMAT + 1


async def test_a_start_never_raises_the_format(deps: Deps) -> None:
    """Only an operator raises the store's format: a new version starts on it and leaves it as it is."""
    assert (await deps.store.service.get()).store_format == FORMAT, "a new store has the newest format"
    await deps.store.service.change(lambda held: held.but(store_format=1))
    assert await first_start(deps) is None
    assert (await deps.store.service.get()).store_format == 1


async def test_a_store_that_is_gone() -> None:
    """A store that is gone gets the same answer as from every other call."""
    with running_store() as store:
        async with serving(store) as http:
            assert (await http.get("/readyz")).status_code == 200
            store.process.kill()
            store.process.wait()
            answer = await eventually(http, lambda answer: answer.status_code == 503)
    assert_problem(answer, 503, "temporarily_unavailable")
    assert answer.json()["error_description"] == "the store can't be asked right now"


async def test_a_reason_names_no_version_and_no_host() -> None:
    """Anybody may call /readyz, so a reason has letters only: no digits and no addresses."""
    with running_store("--maxmemory-policy", "allkeys-lru") as store:
        async with serving(store, durability="disk") as http:
            answer = await http.get("/readyz")
    assert not any(char.isdigit() for char in answer.text)
    assert "redis" not in answer.text.lower() + str(answer.headers).lower()
    assert "valkey" not in answer.text.lower() + str(answer.headers).lower()
