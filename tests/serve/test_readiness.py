"""A start waits for its store, and a worker that replaces another starts only on the store of the same service."""

import asyncio

import pytest
import redis

from authsvc.composition import open_deps
from authsvc.core.client import BUILT_IN
from authsvc.errors import StartupError
from authsvc.flows.deps import Deps
from authsvc.flows.ready import faults
from authsvc.serve.readiness import founded_at, once_it_answers, refuse_wrong_store
from authsvc.settings import Settings
from authsvc.store import keys
from tests.conftest import CHEAP, Clock


async def test_the_store_of_another_service_is_refused(deps: Deps) -> None:
    """The error names the store and the remedy. A store that was set up at another time is another service's."""
    founded = await founded_at(deps)
    assert founded is not None
    await refuse_wrong_store(deps, founded)
    await deps.store.clients.change(BUILT_IN, lambda client: client.but(created_at=founded - 1))
    with pytest.raises(StartupError, match="this is the store of another service") as refused:
        await refuse_wrong_store(deps, founded)
    assert str(refused.value).startswith(f"{deps.store.connection.where}: ")
    assert "correct AUTHSVC_REDIS_URL" in str(refused.value)
    await refuse_wrong_store(deps, None)


async def test_a_restored_backup_is_the_same_service(deps: Deps, valkey: "redis.Redis", clock: Clock) -> None:
    """Neither a restored backup nor a cut-off makes a service another one."""
    founded = await founded_at(deps)
    backup = {name: valkey.dump(name) or b"" for name in (keys.SERVICE, keys.client(BUILT_IN))}
    await deps.store.service.change(lambda held: held.cut_off(clock() + 60))
    await deps.store.clients.change(BUILT_IN, lambda client: client.but(epoch=client.epoch + 1))
    await refuse_wrong_store(deps, founded)
    valkey.flushall()
    for name, value in backup.items():
        valkey.restore(name, 0, value)
    await refuse_wrong_store(deps, founded)


async def test_an_empty_store_is_refused(deps: Deps, valkey: "redis.Redis") -> None:
    """The error names the store, what is wrong with it and the remedy."""
    founded = await founded_at(deps)
    valkey.delete(keys.SERVICE)
    with pytest.raises(StartupError, match="holds no service record") as refused:
        await refuse_wrong_store(deps, founded)
    assert str(refused.value).startswith(f"{deps.store.connection.where}: ")
    assert "restore its backup" in str(refused.value)


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
@pytest.mark.parametrize("scheme", ["rediss://localhost:1", "rediss+sentinel://localhost:1/main"])
async def test_a_missing_file_is_not_waited_for(scheme: str, option: str) -> None:
    """The start fails at once, and names the option and the file."""
    settings = Settings(**CHEAP, store_wait_s=3600)
    async with asyncio.timeout(60), open_deps(settings, f"{scheme}?{option}=/nowhere/file.pem") as deps:
        with pytest.raises(StartupError, match=f"the file of {option} can't be read: /nowhere/file.pem: no such file"):
            await once_it_answers(deps, faults)
