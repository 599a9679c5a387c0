"""Each right that deploy/valkey/users.acl grants: without it, the service says so by its name."""

from collections.abc import Iterator

import httpx
import pytest

from authsvc.app import build
from authsvc.composition import open_deps
from authsvc.driver.connection import Connection
from authsvc.errors import StoreUnavailable
from authsvc.flows.bootstrap import first_start
from authsvc.ops import rights
from authsvc.ops.fitness import RIGHTS_FRESH_S, Fitness
from authsvc.ops.inspection import denied
from authsvc.settings import Settings
from authsvc.store.keys import PATTERNS
from tests.conftest import CHEAP, PATIENT, Clock
from tests.selection import one_in
from tests.stores import StoreProcess, debian_redis, rights_of_the_service, running_store

GRANTED = [right for right in rights_of_the_service() if right[0] in "+~"]
# A server lets every user call these.
UNDENIABLE = {"+hello", "+auth"}
# To Redis 7.0, as docs/deploy.md says.
UNKNOWN = {"+waitaof", "+client|setinfo"}
ALL = rights.Rights(
    {
        **rights.needed(PATTERNS, "replica", clustered=True, numbered=True).commands,
        **rights.needed(PATTERNS, "disk", clustered=True, numbered=True).commands,
    },
    rights.needed(PATTERNS, "local").patterns,
)


@pytest.fixture(scope="module", params=["ours", "debian"])
def store(request: pytest.FixtureRequest) -> Iterator[StoreProcess]:
    binary = None if request.param == "ours" else debian_redis()
    if request.param == "debian" and binary is None:
        pytest.skip("there is no redis-server")
    with running_store(binary=binary) as started:
        yield started


def url_without(store: StoreProcess, *missing: str) -> str:
    """The store's URL for a user with the shipped rights, but without these."""
    kept = [right for right in rights_of_the_service() if right not in missing]
    with store.connect() as operator:
        version = operator.info("server")["redis_version"]
        if version.startswith("7.0."):
            kept = [right for right in kept if right not in UNKNOWN]
        operator.execute_command("ACL", "SETUSER", "svc", "reset", "on", ">pw", *kept)
    return f"unix://svc:pw@{store.socket}?db=1"


async def told(url: str, asked: rights.Rights) -> tuple[str, ...]:
    connection = Connection(url, timeouts=PATIENT)
    try:
        found = await denied(connection, asked)
    finally:
        await connection.close()
    return found.needed + found.useful


async def test_the_shipped_rights_suffice(store: StoreProcess) -> None:
    """With the shipped rights nothing is denied."""
    assert await told(url_without(store), ALL) == ()


@pytest.mark.parametrize("right", one_in(4, sorted(set(GRANTED) - UNDENIABLE)))
async def test_each_right_is_named(store: StoreProcess, right: str) -> None:
    """Without one of the shipped rights, exactly that right is named, and nothing is written."""
    with store.connect() as operator:
        if right in UNKNOWN and operator.info("server")["redis_version"].startswith("7.0."):
            pytest.skip("Redis 7.0 does not know it")
        url = url_without(store, right)
        before = operator.execute_command("INFO", "keyspace")
        found = list(await told(url, ALL))
        assert operator.execute_command("INFO", "keyspace") == before
    assert found == [right if right[0] == "~" else right[1:]]


def test_no_right_is_granted_in_vain() -> None:
    """What is granted and what is tried are the same rights."""
    tried = {"multi", "exec", *ALL.commands, *rights.USEFUL.commands}
    assert {right[1:] for right in GRANTED if right[0] == "+"} == tried | {right[1:] for right in UNDENIABLE}
    assert set(PATTERNS) == {right[1:] for right in GRANTED if right[0] == "~"}


NEEDED = sorted(rights.needed(PATTERNS, "local").commands)


@pytest.mark.parametrize(
    "right", one_in(4, ["+multi", "+exec", *(f"+{name}" for name in NEEDED), *(f"~{p}" for p in PATTERNS)])
)
async def test_readyz_names_each_right(store: StoreProcess, right: str) -> None:
    """`/readyz` is 503 without a needed right, and names it."""
    async with open_deps(Settings(**CHEAP), store.url, Clock(), timeouts=PATIENT) as deps:
        await first_start(deps)
    url = url_without(store, right).removesuffix("?db=1")
    async with open_deps(Settings(**CHEAP), url, Clock(), timeouts=PATIENT) as deps:
        transport = httpx.ASGITransport(app=build(deps))
        async with httpx.AsyncClient(transport=transport, base_url="http://auth.test") as http:
            answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["error_description"] == f"not ready: forbidden:{right.removeprefix('+')}"


async def test_a_right_that_is_granted_later(store: StoreProcess) -> None:
    """The service becomes ready when the right is granted. A sound answer is not asked for again at once."""
    connection = Connection(url_without(store, "+eval"), timeouts=PATIENT)
    fitness = Fitness(connection, rights.needed(PATTERNS, "local", numbered=True))
    try:
        assert await fitness.denied() == ["eval"]
        url_without(store)
        fitness._tried_at -= 1.1
        assert await fitness.denied() == []
        url_without(store, "+eval")
        assert await fitness.denied() == []
        fitness._tried_at -= RIGHTS_FRESH_S
        assert await fitness.denied() == ["eval"]
    finally:
        await connection.close()


async def test_an_error_names_the_right(store: StoreProcess) -> None:
    """The error of a call that is denied names the command, for the log and for the error at the start."""
    connection = Connection(url_without(store, "+set"), timeouts=PATIENT)
    try:
        with pytest.raises(StoreUnavailable, match="its ACL forbids set"):
            await connection.create("throttle:x", b"1")
    finally:
        await connection.close()
