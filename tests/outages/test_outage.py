"""The whole store is gone, stuck, slow, loading, read-only or full, and then well again."""

import asyncio
import logging
import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import redis
from redis.asyncio import Redis

from authsvc import waiting
from authsvc.app import build
from authsvc.composition import open_deps
from authsvc.ops.binary import find_binary
from authsvc.settings import Settings
from tests.conftest import CHEAP, Clock
from tests.outages.proxy import Fault, Plan, Proxy
from tests.outages.world import BY_NAME, CALLS, MAX_SESSIONS, Call, World, client_of, make
from tests.processes import Stopwatch, in_time, until
from tests.selection import one_in, slow

log = logging.getLogger(__name__)  # the figures: pytest -o log_cli=true -o log_cli_level=INFO

ANSWER_WITHIN_S = 1.5
RECOVER_WITHIN_S = 2.0
SLOW_TO_LOAD = ("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")


class Valkey:
    """A server of the test's own. It keeps its data over a restart."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "valkey.sock"
        self.url = f"unix://{self.socket}"
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [find_binary(), "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "yes",
             "--appendfsync", "no", "--dir", str(self.directory), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            restore_signals=False,  # Python ignores SIGXFSZ: reaching a file size limit is an error then
        )  # fmt: skip
        until(self._listens, 10)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def operator(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url, username="operator", password="operator", retry=None)

    def _listens(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, retry=None) as client:
                client.ping()
        except redis.BusyLoadingError:
            return True
        except redis.ConnectionError:
            return False
        return True


@pytest.fixture
def server() -> Iterator[Valkey]:
    with tempfile.TemporaryDirectory(prefix="authsvc-test-") as directory:
        server = Valkey(Path(directory))
        server.start()
        with redis.Redis.from_url(server.url) as client:
            # A fault that locks the service out must not lock the test out.
            client.acl_setuser("operator", enabled=True, passwords=["+operator"], keys=["*"], commands=["+@all"])
        try:
            yield server
        finally:
            server.kill()


@pytest.fixture
async def own(server: Valkey, clock: Clock) -> AsyncIterator[World]:
    """The world on that server, without a proxy."""
    async with open_deps(Settings(**CHEAP, max_sessions=MAX_SESSIONS), server.url, clock) as deps:
        world = await make(deps, clock)
        try:
            yield world
        finally:
            await world.http.aclose()


async def timed(call: Call, world: World, http: httpx.AsyncClient | None = None) -> tuple[httpx.Response, float]:
    watch = Stopwatch()
    answer = await call.make(world, http)
    return answer, watch.seconds()


async def together(calls: list[Call], world: World) -> list[tuple[httpx.Response, float]]:
    """The answers to these calls, all made at once."""
    return await asyncio.gather(*(timed(call, world) for call in calls))


def is_refusal(answer: httpx.Response) -> bool:
    return answer.status_code == 503 and answer.headers.get("Retry-After") == "1" and "active" not in answer.json()


async def check_all(world: World, *, reads_work: bool = False) -> float:
    """Make every call at once: each is 503 within the bound. Calls that only read may also have their usual answer."""
    answers = await together(CALLS, world)
    for call, (answer, seconds) in zip(CALLS, answers, strict=True):
        works = reads_work and call.reads and answer.status_code == call.usual
        assert works or is_refusal(answer), f"{call.name}: {answer.status_code} {answer.text}"
        in_time(seconds, ANSWER_WITHIN_S, call.name)
    alive = await world.http.get("/healthz")
    assert alive.status_code == 200
    return max(seconds for _, seconds in answers)


async def recovered(world: World) -> float:
    """Seconds until the same application reads and writes as before."""
    watch = Stopwatch()
    # A login by a user of its own: each login beyond the limit ends the user's oldest session.
    login = BY_NAME["log in, the oldest session ends"]
    while True:
        read, write = await BY_NAME["introspect"].make(world), await login.make(world)
        if read.status_code == write.status_code == 200:
            break
        assert is_refusal(read) or read.json()["active"], read.text
        in_time(watch.seconds(), RECOVER_WITHIN_S, "getting well")
        await asyncio.sleep(0.01)
    assert read.json()["active"]
    assert await world.active(write.json()["access_token"])
    while (await world.http.get("/readyz")).status_code != 200:  # it remembers the state of the store for a second
        in_time(watch.seconds(), RECOVER_WITHIN_S, "getting ready")
        await asyncio.sleep(0.01)
    seconds = watch.seconds()
    in_time(seconds, RECOVER_WITHIN_S)
    return seconds


Outage = Callable[[Valkey], AbstractContextManager[None]]


@contextmanager
def killed(server: Valkey) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def stopped(server: Valkey) -> Iterator[None]:
    """The store accepts connections and does not answer, like a machine that hangs."""
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    yield
    os.kill(server.process.pid, signal.SIGCONT)


@contextmanager
def loading(server: Valkey) -> Iterator[None]:
    with server.operator() as operator:
        operator.mset({f"filler:{n}": "x" * 2000 for n in range(500)})
        operator.bgrewriteaof()
        until(lambda: not operator.info("persistence")["aof_rewrite_in_progress"], 10)
        until(lambda: not operator.info("persistence")["aof_rewrite_scheduled"], 10)
    server.kill()
    server.start(*SLOW_TO_LOAD)
    with redis.Redis.from_url(server.url, retry=None) as client, pytest.raises(redis.BusyLoadingError):
        client.get("service")
    yield
    with redis.Redis.from_url(server.url, retry=None) as client, pytest.raises(redis.BusyLoadingError):
        client.get("service")  # the record was there all the time
    server.kill()
    server.start()


@contextmanager
def not_permitted(server: Valkey) -> Iterator[None]:
    with server.operator() as operator:
        operator.execute_command("ACL", "SETUSER", "default", "-@all", "+hello", "+client")
        yield
        operator.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def no_more_clients(server: Valkey) -> Iterator[None]:
    with server.operator() as operator:
        operator.config_set("maxclients", 1)
        operator.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        yield
        operator.config_set("maxclients", 10000)


@contextmanager
def replica_of_nobody(server: Valkey) -> Iterator[None]:
    """MASTERDOWN: a replica that has lost its primary and refuses to answer with old data."""
    with server.operator() as operator:
        operator.config_set("replica-serve-stale-data", "no")
        operator.execute_command("REPLICAOF", "127.0.0.1", "1")
        yield
        operator.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def busy(server: Valkey) -> Iterator[None]:
    """BUSY: a script of another program does not end."""
    with server.operator() as operator, server.operator() as culprit:
        operator.config_set("busy-reply-threshold", 1)
        connection = culprit.connection_pool.get_connection()
        connection.send_command("EVAL", "while true do end", 0)
        try:
            until(lambda: _is_busy(server), 5)
            yield
            operator.execute_command("SCRIPT", "KILL")
            with suppress(redis.ResponseError):
                connection.read_response()
        finally:
            connection.disconnect()


def _is_busy(server: Valkey) -> bool:
    with server.operator() as other:
        try:
            other.get("service")
        except redis.ResponseError as error:
            return "BUSY" in str(error)
        return False


@pytest.mark.parametrize(
    "outage",
    [killed, stopped, slow(not_permitted), slow(loading), slow(no_more_clients), slow(replica_of_nobody), slow(busy)],
)
async def test_nothing_can_be_known(own: World, server: Valkey, outage: Outage) -> None:
    """Every call is 503 within 1.5 s, twice. Afterwards the same application works again within 2 s."""
    with outage(server):
        worst = max([await check_all(own), await check_all(own)])
    log.info("%s: worst answer %.3f s, recovery %.3f s", outage.__name__, worst, await recovered(own))


@contextmanager
def read_only(server: Valkey) -> Iterator[None]:
    """READONLY: a primary that was demoted."""
    with server.operator() as operator:
        operator.execute_command("REPLICAOF", "127.0.0.1", "1")
        yield
        operator.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def too_few_replicas(server: Valkey) -> Iterator[None]:
    """NOREPLICAS: the store has fewer replicas than a write needs."""
    with server.operator() as operator:
        operator.config_set("min-replicas-to-write", 1)
        yield
        operator.ping()  # after the answer, the store has refused all that was sent before it
        operator.config_set("min-replicas-to-write", 0)


@contextmanager
def writes_not_permitted(server: Valkey) -> Iterator[None]:
    with server.operator() as operator:
        operator.execute_command("ACL", "SETUSER", "default", "-@write")
        yield
        operator.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def failed_snapshot(server: Valkey) -> Iterator[None]:
    """MISCONF: the store failed to write its last snapshot."""
    in_its_place = server.directory / "dump.rdb"
    in_its_place.mkdir()  # a directory in the way, because root ignores permissions
    with server.operator() as operator:
        operator.config_set("save", "3600 1")
        operator.bgsave()
        until(lambda: operator.info("persistence")["rdb_last_bgsave_status"] == "err", 10)
        assert "MISCONF" in _refused_write(server)
        yield
        in_its_place.rmdir()
        operator.bgsave()
        until(lambda: operator.info("persistence")["rdb_last_bgsave_status"] == "ok", 10)


@contextmanager
def full_disk(server: Valkey) -> Iterator[None]:
    """MISCONF: the store failed to append the last write to its file."""
    assert server.process is not None
    with server.operator() as operator:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        operator.set("filler", "the last that is taken")
        until(lambda: operator.info("persistence")["aof_last_write_status"] == "err", 10)
        assert "MISCONF" in _refused_write(server)
        yield
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        until(lambda: operator.info("persistence")["aof_last_write_status"] == "ok", 10)


def _refused_write(server: Valkey) -> str:
    with server.operator() as operator, pytest.raises(redis.ResponseError) as refusal:
        operator.set("filler", "refused")
    return str(refusal.value)


@contextmanager
def writes_paused(server: Valkey) -> Iterator[None]:
    """Valkey pauses writes like this during a failover."""
    with server.operator() as operator:
        operator.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
        yield
        operator.execute_command("CLIENT", "UNPAUSE")


async def test_a_demoted_store(own: World, server: Valkey) -> None:
    """Within 1.5 s after it became a replica the store is not read from: it may not know the latest revocations."""
    introspect = BY_NAME["introspect"]
    with read_only(server):
        watch = Stopwatch()
        while not is_refusal(answer := await introspect.make(own)):
            assert answer.json()["active"]
            in_time(watch.seconds(), 1.5, "leaving a demoted store")
            await asyncio.sleep(0.01)
        await check_all(own)
    log.info("read_only: recovery %.3f s", await recovered(own))


@pytest.mark.parametrize(
    "outage",
    [too_few_replicas, slow(full_disk), slow(writes_not_permitted), slow(writes_paused), slow(failed_snapshot)],
)
async def test_nothing_can_be_written(own: World, server: Valkey, outage: Outage) -> None:
    """Every call that writes is 503 within 1.5 s, revocations too. Afterwards the application works within 2 s."""
    with outage(server):
        worst = await check_all(own, reads_work=True)
    log.info("%s: worst answer %.3f s, recovery %.3f s", outage.__name__, worst, await recovered(own))
    assert await own.active(own.laptop["access_token"]), "no revocation happened"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", "refuse"])
async def test_the_connection_is_gone(world: World, proxy: Proxy, fault: str) -> None:
    """The same for a network that drops everything, and for refused connections."""
    if fault == "hang":
        proxy.hang = True
    else:
        await proxy.refuse()
    worst = await check_all(world)
    proxy.hang = False
    if fault == "refuse":
        await proxy.accept()
    log.info("%s: worst answer %.3f s, recovery %.3f s", fault, worst, await recovered(world))


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.1, 0.45, 0.9, 2.0])
async def test_a_slow_store(world: World, proxy: Proxy, delay_s: float) -> None:
    """With slow replies every call is answered within 1.5 s, as usual or with 503."""
    proxy.delay_s = delay_s
    worst = 0.0
    # Calls that only read come first, because the others end the sessions.
    for calls in ([call for call in CALLS if call.reads], [call for call in CALLS if not call.reads]):
        for call, (answer, seconds) in zip(calls, await together(calls, world), strict=True):
            worst = max(worst, seconds)
            in_time(seconds, ANSWER_WITHIN_S, call.name)
            assert answer.status_code < 500 or is_refusal(answer), answer.text
            if call.reads:
                assert answer.status_code in (call.usual, 503), f"{call.name}: {answer.text}"
                assert '"active":false' not in answer.text
    proxy.delay_s = 0
    log.info("%.2f s slow: worst answer %.3f s", delay_s, worst)
    # These calls changed the world. An answer to one more call shows that the service works.
    watch = Stopwatch()
    while (await world.http.get("/readyz")).status_code != 200:
        in_time(watch.seconds(), RECOVER_WITHIN_S, "getting well")
        await asyncio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["log in", "refresh", "change the password", "rename", "revoke by token"])
async def test_hanging_from_any_command_on(world: World, proxy: Proxy, name: str) -> None:
    """If the store hangs during a call, the answer within 1.5 s is 503, or success if only the audit is left."""
    call = BY_NAME[name]
    proxy.arm()
    await call.make(world)
    length = len(proxy.commands)
    await world.deps.store.sessions.finish()

    async def hanging(at: int) -> None:
        path = proxy.path.with_name(f"s{at}")
        async with (
            Proxy(path, proxy.store) as own_proxy,
            open_deps(world.deps.settings, own_proxy.url, world.clock) as deps,
            client_of(build(deps)) as http,
        ):
            async for _ in waiting.until(10):  # the service has a connection
                if (await http.get("/readyz")).status_code == 200:
                    break
            own_proxy.arm(Plan(Fault.HANG, at, Fault.HANG))
            answer, seconds = await timed(call, world, http)
            in_time(seconds, ANSWER_WITHIN_S, f"{at} of {own_proxy.commands}")
            assert answer.status_code < 500 or is_refusal(answer)

    await asyncio.gather(*(hanging(at) for at in range(1, length + 1)))


async def test_a_full_store_still_revokes(own: World, server: Valkey) -> None:
    """OOM: logins fail, while introspection and every revocation work, and revocations last."""
    tokens = {"phone": own.phone["access_token"], "laptop": own.laptop["access_token"], "outsider": own.outsider}
    async with Redis.from_url(server.url) as store:
        await store.config_set("maxmemory", 1)
        for name in ("log in", "issue", "create a user", "create a client", "make a reset code"):
            assert is_refusal(await BY_NAME[name].make(own)), name
        for token in tokens.values():
            assert await own.active(token)
        for name, dead in (
            ("log out", {"phone"}),
            ("revoke by session", set()),
            ("end a user's sessions", {"laptop"}),
            ("revoke all", {"outsider"}),
        ):
            answer = await BY_NAME[name].make(own)
            assert answer.status_code == BY_NAME[name].usual, f"{name}: {answer.text}"
            for which in dead:
                assert not await own.active(tokens[which]), name
        assert (await own.http.get("/healthz")).status_code == 200
        await store.config_set("maxmemory", 0)
        assert not any([await own.active(token) for token in tokens.values()])
        assert (await own.login("ada")).status_code == 200


@pytest.mark.parametrize(
    "name",
    one_in(
        6,
        [
            "revoke by token",
            "revoke by session",
            "revoke by sub",
            "revoke by client_id",
            "revoke all",
            "revoke one's own",
            "log out",
            "end all",
            "end a user's sessions",
            "suspend",
            "delete a user",
        ],
    ),
)
async def test_every_revocation_in_a_full_store(own: World, server: Valkey, name: str) -> None:
    """Each of these calls alone ends the session on the phone of ada at once."""
    async with Redis.from_url(server.url) as store:
        await store.config_set("maxmemory", 1)
        assert await own.active(own.phone["access_token"])
        answer = await BY_NAME[name].make(own)
        assert answer.status_code == BY_NAME[name].usual, answer.text
        assert not await own.active(own.phone["access_token"])
        await store.config_set("maxmemory", 0)
        assert not await own.active(own.phone["access_token"])


@pytest.mark.slow
async def test_one_after_another_in_a_slow_store(world: World, proxy: Proxy) -> None:
    """A call that needs many slow replies gives up in time, though each reply is within its own limit."""
    proxy.delay_s = 0.45
    for name in ("refresh again within the grace", "log in", "change a client", "my sessions", "introspect"):
        answer, seconds = await timed(BY_NAME[name], world)
        in_time(seconds, ANSWER_WITHIN_S, name)
        assert answer.status_code == BY_NAME[name].usual or is_refusal(answer)


@pytest.mark.slow
async def test_latecomers_during_an_outage(world: World, proxy: Proxy) -> None:
    """Calls that arrive while others wait for a hanging store wait no longer than those."""
    proxy.hang = True
    calls = []
    for _ in range(30):
        calls += [asyncio.create_task(timed(BY_NAME[name], world)) for name in ("introspect", "who am I", "refresh")]
        await asyncio.sleep(0.05)
    answers = await asyncio.gather(*calls)
    assert all(is_refusal(answer) for answer, _ in answers)
    in_time(max(seconds for _, seconds in answers), ANSWER_WITHIN_S)
