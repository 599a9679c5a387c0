"""The fixtures of all tests: a real Valkey, a clock that tests move, and the service over both."""

import asyncio
import gc
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authsvc.app import build
from authsvc.composition import open_deps
from authsvc.core import token as tokens
from authsvc.core.client import BUILT_IN, Client
from authsvc.core.reason import Reason
from authsvc.core.session import Active, Inactive
from authsvc.core.token import Kind
from authsvc.core.user import User
from authsvc.driver.timeouts import Timeouts
from authsvc.driver.urls import StoreUrl
from authsvc.flows import bootstrap, clients, users
from authsvc.flows.deps import OPERATOR, Deps
from authsvc.flows.introspect import judge
from authsvc.hashing import pool
from authsvc.ops.binary import find_binary
from authsvc.settings import Settings
from authsvc.store import keys
from tests import authorities, topologies
from tests.flows.contents import Commands
from tests.github import KEY, KEY_ID, published
from tests.selection import pytest_ignore_collect as pytest_ignore_collect  # pytest looks for it here
from tests.stores import Secrets

authorities.read_once()
# A hash at SCHED_IDLE waits for seconds while other tests use all cores. tests/e2e has the threads of production.
use_idle_scheduling = pool._use_idle_scheduling
pool._use_idle_scheduling = lambda: None

# A script that runs the tests in the background ignores interrupts, and the programs of the tests would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

PASSWORD = "a walk by the river"

# The service's user of the store, in deploy/valkey/users.acl.
SERVICE_USER = "authsvc"
# A folder in memory, where syncing each write takes no time. tests/e2e shows that writes survive.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# Commands that the service tries and may be refused: their answers hold passwords of the store.
DONE_WITHOUT = {"config|get", "acl|getuser"}

FACTOR_KEY = "the factor key of tests, which is long enough"
# The cheapest parameters of argon2, because no test is about the time of a hash; and what the calls of all capabilities
# need.
CHEAP: dict[str, Any] = {
    "factor_key": FACTOR_KEY,
    "github_keys": published((KEY_ID, KEY)),
    "argon2_time_cost": 1,
    "argon2_memory_kib": 8,
    "argon2_parallelism": 1,
    "hash_threads": 2,
}


# What logins through the built-in client may ask for in tests that are about something else.
APP_SCOPE = "read write orders:read orders:write a b"

# The longest time that a test reads a stream of events of which it needs the beginning only.
LISTENS_S = 0.2


@dataclass
class Clock:
    """Epoch seconds that stand still until a test moves them. They start at the real time, as the store's own clock."""

    now: float = field(default_factory=lambda: float(int(time.time())))

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


SHAPES = ("standalone", "redis", "sentinel", "cluster")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store", choices=SHAPES, default=SHAPES[0], help="the shape of the store that the tests share")


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking at thousands of tests over and over, as a worker does with its code."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="session")
def shape(request: pytest.FixtureRequest) -> str:
    """The shape of the shared store. `redis` is one server like `standalone`: the redis-server on the PATH."""
    chosen: str = request.config.getoption("--store")
    return chosen


@dataclass(frozen=True)
class SharedStore:
    """url: for the service, with the rights that it has in production. everything: for the tests, with all rights."""

    url: str
    everything: str


@pytest.fixture(scope="session")
def shared_store(shape: str) -> Iterator[SharedStore]:
    """One store for the whole run of this process. A single server has the configuration of deploy/valkey."""
    with tempfile.TemporaryDirectory(prefix="authsvc-test-", dir=MEMORY) as name:
        directory = Path(name)
        if shape == "sentinel":
            with topologies.sentinels(directory, replicas=1) as watched:
                yield SharedStore(watched.url, watched.url)
        elif shape == "cluster":
            with topologies.cluster(directory) as cluster:
                yield SharedStore(cluster.url, cluster.url)
        else:
            yield from _as_shipped(directory, find_binary() if shape == "standalone" else _redis_server())


@pytest.fixture(scope="session")
def valkey_url(shared_store: SharedStore) -> str:
    """The URL of the store for the service."""
    return shared_store.url


def _redis_server() -> str:
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("no redis-server on the PATH")
    return found


def _as_shipped(directory: Path, binary: str) -> Iterator[SharedStore]:
    socket = directory / "valkey.sock"
    secrets = Secrets.made(directory / "secrets", f"unix://{socket}", binary)
    secrets.rewrite(f"{secrets.users.read_text()}user tests on nopass ~* &* +@all\n")
    process = subprocess.Popen(
        [binary, *secrets.options, "--port", "0", "--unixsocket", str(socket), "--dir", str(directory)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    store = SharedStore(secrets.url, f"unix://tests:any@{socket}")
    try:
        _wait_for(store.everything)
        yield store
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 10
    with redis.Redis.from_url(url, retry=None) as client:
        while True:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "the store does not start"
                time.sleep(0.01)


@pytest.fixture(scope="session")
def plain_connection(shared_store: SharedStore) -> Iterator["redis.Redis"]:
    with _plain(shared_store.everything) as client:
        yield client


@pytest.fixture
def valkey(plain_connection: "redis.Redis", shape: str) -> Iterator["redis.Redis"]:
    """A plain connection to the empty store, with which a test reads and changes keys.

    At the end of the test the store must not have refused the service a command for lack of a right.
    """
    plain_connection.flushall()
    plain_connection.config_set("maxmemory", 0)
    if shape == "cluster":
        yield plain_connection
        return
    plain_connection.acl_log_reset()
    yield plain_connection
    log = plain_connection.acl_log()
    refused = {entry["object"] for entry in log if entry["username"] == SERVICE_USER} - DONE_WITHOUT
    assert not refused, "the service's user lacks a right: deploy/valkey/users.acl"


def _plain(url: str) -> "redis.Redis":
    """A client of the store. For a cluster, it sends the same calls to the nodes that hold the keys."""
    parsed = StoreUrl.parse(url)
    if parsed.shape == "sentinel":
        return Sentinel(parsed.hosts).master_for(parsed.service)  # type: ignore[no-any-return]  # redis-py has no types here
    if parsed.shape == "cluster":
        nodes = [ClusterNode(*host) for host in parsed.hosts]
        return RedisCluster(startup_nodes=nodes)  # type: ignore[return-value]  # it takes the calls that tests make
    return redis.Redis.from_url(url)


@pytest.fixture
def commands(valkey: "redis.Redis", shape: str) -> Commands:
    """A counter of the commands that the store gets."""
    if shape == "cluster":
        pytest.skip("commands are counted on one server")
    return Commands(valkey)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings() -> Settings:
    return Settings(**CHEAP, app_scope=APP_SCOPE)


# A store that works is waited for, however busy the machine is. What happens in time is tested in tests/outages.
PATIENT = Timeouts(
    request_s=10, attempt_s=10, call_s=10, reply_s=10, connect_s=10, pool_s=10, sentinel_s=10, map_s=10, vouched_s=60
)


@pytest.fixture(scope="session")
def first_records() -> dict[str, bytes]:
    """The records of a first start without its admin, as DUMP gives them. The first use of `deps` fills it."""
    return {}


@pytest.fixture
async def deps(
    valkey: "redis.Redis", valkey_url: str, clock: Clock, settings: Settings, first_records: dict[str, bytes]
) -> AsyncIterator[Deps]:
    """The parts of the service over the real store, with the service record, the built-in client and no admin."""
    async with open_deps(settings, valkey_url, clock, timeouts=PATIENT) as parts:
        if first_records:
            for key, value in first_records.items():
                valkey.restore(key, 0, value)
        else:
            started = await bootstrap.first_start(parts)
            assert started is not None
            await parts.store.clients.delete(started[0])
            valkey.delete(keys.AUDIT)
            made = (keys.SERVICE, keys.client(BUILT_IN), keys.ADMINS)  # readers drop the entry of the deleted admin
            first_records |= {key: valkey.dump(key) or b"" for key in made}
        yield parts


@dataclass
class Service:
    """The web application, and short forms of the calls with which most tests begin."""

    deps: Deps
    app: ASGIApp
    http: httpx.AsyncClient
    admin: tuple[str, str]

    async def user(self, username: str = "ada", **fields: Any) -> User:
        user, _ = await users.create(self.deps, OPERATOR, username=username, password=PASSWORD, **fields)
        return user

    async def client(self, *permissions: str, **fields: Any) -> tuple[Client, tuple[str, str]]:
        """A client and its credentials for HTTP Basic."""
        client, secret = await clients.create(
            self.deps, OPERATOR, name="a test's client", permissions=permissions, **fields
        )
        return client, (client.client_id, secret or "")

    async def login(self, username: str = "ada", password: str = PASSWORD, **fields: Any) -> dict[str, Any]:
        answer = await self.http.post("/login", json={"username": username, "password": password, **fields})
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def refresh(self, refresh_token: str, **fields: Any) -> httpx.Response:
        form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": refresh_token}
        return await self.http.post("/token", data=form | fields)

    async def introspect(self, token: str, auth: tuple[str, str] | None = None) -> dict[str, Any]:
        answer = await self.http.post("/introspect", data={"token": token}, auth=auth or self.admin)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def active(self, token: str) -> bool:
        if token.startswith(Kind.REFRESH):
            return isinstance(await verdict_on(self.deps, token), Active)
        return bool((await self.introspect(token))["active"])


async def verdict_on(deps: Deps, text: str) -> Active | Inactive:
    """The decision about an access or refresh token. No call of the service tells whether a refresh token is active."""
    token = tokens.parse(text)
    if token is None:
        return Inactive(Reason.UNKNOWN)
    return judge(deps, token, await deps.store.lookup.session(token.handle), deps.clock())


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def leaving_streams(app: ASGIApp) -> ASGIApp:
    """The application, asked by a client that leaves `GET /events` after the first event or after LISTENS_S.

    The transport of httpx would wait for the end of the stream.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/events":
            await app(scope, receive, send)
            return
        read, left = False, asyncio.Event()

        async def receive_or_leave() -> Message:
            nonlocal read
            if read:
                await left.wait()
                return {"type": "http.disconnect"}
            message = await receive()
            read = not message.get("more_body")
            return message

        async def noting(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start":  # while the store is silent there may be no event
                asyncio.get_running_loop().call_later(LISTENS_S, left.set)
            elif message.get("more_body"):
                left.set()

        await app(scope, receive_or_leave, noting)

    return wrapped


@pytest.fixture
async def service(deps: Deps) -> AsyncIterator[Service]:
    """The service over the ASGI transport of httpx, with one client that has all permissions."""
    app = build(deps)
    client, secret = await clients.create(
        deps, OPERATOR, name="admin", permissions=("admin", "introspect", "revoke", "issue", "vouch", "reset")
    )
    assert secret is not None
    transport = httpx.ASGITransport(app=leaving_streams(app), raise_app_exceptions=False, client=("192.0.2.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://auth.test") as http:
        yield Service(deps, app, http, (client.client_id, secret))


Snapshot = Callable[[], dict[bytes, bytes]]


@pytest.fixture
def dump(valkey: "redis.Redis") -> Snapshot:
    """Takes every key of the store with its serialised value, as a backup holds it."""

    def snapshot() -> dict[bytes, bytes]:
        return {key: valkey.dump(key) or b"" for key in valkey.scan_iter(count=1000)}

    return snapshot
