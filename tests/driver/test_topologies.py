"""The service works on a store of every topology, also while the topology changes."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from authsvc.app import build
from authsvc.composition import open_deps
from authsvc.driver.connection import Connection
from authsvc.driver.scripts import Change
from authsvc.driver.timeouts import Timeouts
from authsvc.errors import StartupError, StoreUnavailable
from authsvc.flows import bootstrap, clients
from authsvc.flows.deps import OPERATOR
from authsvc.settings import Settings
from authsvc.store import keys
from tests import topologies
from tests.conftest import CHEAP, PATIENT, Service, bearer
from tests.driver.reading import read
from tests.processes import in_time
from tests.selection import slow
from tests.topologies import Cluster, ServerProcess


@asynccontextmanager
async def service_on(url: str, timeouts: Timeouts = PATIENT, **settings: Any) -> AsyncIterator[Service]:
    async with open_deps(Settings(**CHEAP, **settings), url, timeouts=timeouts) as deps:
        await bootstrap.first_start(deps)
        client, secret = await clients.create(
            deps, OPERATOR, name="admin", permissions=("admin", "introspect", "revoke", "issue")
        )
        transport = httpx.ASGITransport(app=build(deps), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://auth.test") as http:
            yield Service(deps, build(deps), http, (client.client_id, secret or ""))


async def eventually(done: Callable[[], Any], seconds: float = 10.0) -> float:
    """Poll until it is done, without blocking the event loop. Returns how long that took."""
    began = time.monotonic()
    while not await done():
        in_time(time.monotonic() - began, seconds)
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def revoke(service: Service, token: str) -> int:
    return (await service.http.post("/revoke", data={"token": token}, auth=service.admin)).status_code


async def status(service: Service, token: str) -> int:
    """The status of an introspection of a living token. An answer of "inactive" fails the test."""
    answer = await service.http.post("/introspect", data={"token": token}, auth=service.admin)
    assert answer.status_code in (200, 503), answer.text
    assert answer.status_code == 503 or answer.json()["active"], "a store that can't be asked looked like a logout"
    assert answer.status_code == 200 or answer.headers["Retry-After"]
    return answer.status_code


@contextmanager
def store(shape: str, directory: Path) -> Iterator[str]:
    """A store of this topology with passwords; its URL."""
    match shape:
        case "server":
            with topologies.standalone(directory, password="s3cret") as server:
                yield server.url
        case "sentinel":
            with topologies.sentinels(directory, password="s3cret", sentinel_password="0ther") as watched:
                yield watched.url
        case "cluster":
            with topologies.cluster(directory, password="s3cret") as cluster:
                yield cluster.url
        case "tls":
            with topologies.tls(directory, password="s3cret", binary=tls_binary()) as server:
                yield server.url


def tls_binary() -> str:
    """The embedded binary is built without TLS."""
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        pytest.skip("no valkey-server or redis-server on the PATH, for TLS")
    return found


@pytest.mark.parametrize("shape", ["server", slow("sentinel"), slow("cluster"), slow("tls")])
async def test_every_kind_of_call(tmp_path: Path, shape: str) -> None:
    """Every kind of call, from creating a user to ending all sessions, works on every topology."""
    with store(shape, tmp_path) as url:
        async with service_on(url) as service:
            users = [await service.user(f"user{n}", roles=("editor",)) for n in range(30)]
            first, second = await service.login("user0"), await service.login("user0")
            assert (await service.introspect(first["access_token"]))["sub"] == users[0].sub
            both = {"tokens": [first["access_token"], "tok_" + "0" * 45, second["access_token"]]}
            answer = await service.http.post("/introspect/batch", json=both, auth=service.admin)
            assert [one["active"] for one in answer.json()] == [True, False, True], answer.text
            rotated = (await service.refresh(first["refresh_token"])).json()
            assert await service.active(rotated["access_token"])
            listed = await service.http.get("/sessions", headers=bearer(rotated["access_token"]))
            assert len(listed.json()["items"]) == 2
            assert await revoke(service, second["access_token"]) == 200
            assert not await service.active(second["access_token"])
            renamed = await service.http.patch(
                f"/admin/users/{users[0].sub}", json={"username": "countess"}, auth=service.admin
            )
            assert renamed.json()["username"] == "countess"
            names: set[str] = set()
            cursor: str | None = "0"
            while cursor is not None:
                params = {"limit": "7", "cursor": cursor}
                page = (await service.http.get("/admin/users", params=params, auth=service.admin)).json()
                assert "items" in page, (page, cursor)
                names |= {user["username"] for user in page["items"]}
                cursor = page["next"]
            assert names == {"countess", *(f"user{n}" for n in range(1, 30))}
            unknown = {"username": "nobody", "password": "a swim across the lake"}
            assert (await service.http.post("/login", json=unknown)).status_code == 401
            assert await revoke_all(service) == 200
            assert not await service.active(rotated["access_token"])


async def revoke_all(service: Service) -> int:
    return (await service.http.post("/revoke", data={"all": "true"}, auth=service.admin)).status_code


async def test_tls_is_checked(tmp_path: Path) -> None:
    """A server with an untrusted certificate, or one for another host, is refused."""
    with topologies.tls(tmp_path, binary=tls_binary()) as server:
        for url in (f"rediss://{server.address}", server.url.replace("127.0.0.1", "localhost")):
            connection = Connection(url)
            with pytest.raises(StoreUnavailable):
                await connection.call("GET", "service")
            await connection.close()


async def test_a_replica_is_not_read_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A URL that leads to a replica is refused: a replica may lack the latest revocations."""
    with topologies.replicated(tmp_path) as pair:
        connection = Connection(pair.replicas()[0].url)
        reader = connection.reader()
        with pytest.raises(StoreUnavailable):
            await connection.call("GET", "service")
        with pytest.raises(StoreUnavailable):
            await read(reader, asyncio.get_running_loop().time() + 1, "service")
        await connection.close()
        assert "is a replica" in caplog.text


@pytest.mark.parametrize("encrypted", ["store", slow("sentinels")])
async def test_tls_to_one_side_only(tmp_path: Path, encrypted: str) -> None:
    """TLS to the store needs no TLS to the sentinels, and the reverse."""
    with topologies.half_encrypted(tmp_path, tls_binary(), store_by_tls=encrypted == "store") as url:
        async with service_on(url) as service:
            await service.user()
            token = (await service.login())["access_token"]
            assert await status(service, token) == 200
            assert await revoke(service, token) == 200


@pytest.mark.slow
async def test_sentinels_fail_over(tmp_path: Path) -> None:
    """After the primary is killed, calls are 503 until the sentinels fail over. Revoked tokens stay revoked."""
    with topologies.sentinels(tmp_path) as watched:
        async with service_on(watched.url, Timeouts(), durability="replica") as service:
            await service.user()
            kept, revoked = await service.login(), await service.login()
            assert await revoke(service, revoked["access_token"]) == 200
            dead = watched.primary()
            dead.kill()
            began = time.monotonic()
            assert await status(service, kept["access_token"]) == 503

            async def answers() -> bool:
                return await status(service, kept["access_token"]) == 200

            await eventually(answers)
            in_time(time.monotonic() - began, 10)
            assert not await service.active(revoked["access_token"])

            async def writes() -> bool:
                return await revoke(service, kept["access_token"]) == 200

            await eventually(writes)
            assert not await service.active(kept["access_token"])


@pytest.mark.slow
async def test_a_replaced_primary_is_not_read_from(tmp_path: Path) -> None:
    """An old primary that resumes still claims to be the primary. The service soon stops reading from it."""
    with topologies.sentinels(tmp_path) as watched:
        async with service_on(watched.url, Timeouts()) as service:
            await service.user()
            token = (await service.login())["access_token"]
            assert await service.active(token)
            old = watched.primary()
            old.pause()
            await asyncio.to_thread(watched.await_failover, old)
            with watched.primary().redis() as client:
                client.delete(*client.keys("session:*"))
            for sentinel in watched.sentinels:  # they demote the old primary after four of these periods
                sentinel.call("SENTINEL", "DEBUG", "PUBLISH-PERIOD", 60000)
            old.resume()

            async def dead() -> bool:
                answer = await service.http.post("/introspect", data={"token": token}, auth=service.admin)
                return answer.status_code == 200 and not answer.json()["active"]

            in_time(await eventually(dead, 5), 2.5)


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["sentinels", "replica", "both"])
async def test_a_primary_needs_sentinels_or_replicas(tmp_path: Path, gone: str) -> None:
    """At level `replica` the primary is read only while sentinels name it or replicas follow it."""
    with topologies.sentinels(tmp_path, replicas=1) as watched:
        async with service_on(watched.url, Timeouts(vouched_s=2.0), durability="replica") as service:
            await service.user()
            token = (await service.login())["access_token"]
            replica = watched.replicas()[0]
            missing = {"sentinels": watched.sentinels, "replica": [replica], "both": [*watched.sentinels, replica]}
            for process in missing[gone]:
                process.pause()
            began, refused = time.monotonic(), False
            while time.monotonic() - began < 8 and not refused:  # the allowed lag, `vouched_s`, and a look or two
                refused = await status(service, token) == 503
                await asyncio.sleep(0.05)
            assert refused == (gone == "both")
            for process in missing[gone]:
                process.resume()

            async def answered() -> bool:
                return await status(service, token) == 200

            await eventually(answered, 15)


async def not_vouched_for(service: Service) -> bool:
    """Whether the breaker says that nothing has confirmed the primary lately."""
    try:
        await service.deps.store.connection.call("GET", keys.SERVICE)
    except StoreUnavailable as error:
        return "neither sentinels nor replicas" in str(error)
    return False


@pytest.mark.slow
async def test_an_old_primary_that_is_cut_off_with_us_is_not_read_from(tmp_path: Path) -> None:
    """An old primary is not read when neither sentinels nor replicas can be reached with it."""
    with topologies.sentinels(tmp_path, replicas=1) as watched:
        async with service_on(watched.url, Timeouts(), durability="replica") as service:
            await service.user()
            token = (await service.login())["access_token"]
            assert await service.active(token)
            old = watched.primary()
            old.pause()
            new = await asyncio.to_thread(watched.await_failover, old)
            with new.redis() as client:
                client.delete(*client.keys("session:*"))
            for process in (*watched.sentinels, new):
                process.pause()
            await eventually(lambda: not_vouched_for(service))
            old.resume()
            for _ in range(60):
                answer = await service.http.post("/introspect", data={"token": token}, auth=service.admin)
                assert answer.status_code == 503 or not answer.json()["active"]
                await asyncio.sleep(0.05)
            assert answer.status_code == 503
            for process in (*watched.sentinels, new):
                process.resume()


@contextmanager
def moved(cluster: Cluster, key: str, how: str) -> Iterator[None]:
    """The slot of this key has moved to another node, or is moving."""
    source = cluster.primary_of(key)
    target = next(node for node in cluster.primaries() if node is not source)
    cluster.move(key, target, finish=how == "moved")
    yield


@pytest.mark.slow
@pytest.mark.parametrize("how", ["moved", "moving"])
async def test_slots_move_under_a_service(tmp_path: Path, how: str) -> None:
    """Every kind of call follows MOVED and ASK, and succeeds."""
    with topologies.cluster(tmp_path) as cluster:
        async with service_on(cluster.url) as service:
            user = await service.user()
            session = await service.login()
            names = [
                keys.session(session["session_id"]),
                keys.user(user.sub),
                keys.SERVICE,
                keys.AUDIT,
                keys.client("app"),
                keys.login("ada"),
            ]
            for name in names:
                with moved(cluster, name, how):
                    assert await service.active(session["access_token"]), name
                    session = (await service.refresh(session["refresh_token"])).json()
                    assert await service.active((await service.login())["access_token"]), name
                    headers = bearer(session["access_token"])
                    assert (await service.http.get("/sessions", headers=headers)).status_code == 200
            answer = await service.http.delete("/sessions", params={"all": "true"}, headers=headers)
            assert answer.status_code == 204
            assert not await service.active(session["access_token"])
            events = (await service.http.get("/admin/audit", auth=service.admin)).json()["items"]
            assert "user.cut_off" in [event["event"] for event in events]


@pytest.mark.slow
async def test_keys_between_two_nodes(tmp_path: Path) -> None:
    """While only one of two keys of a slot has moved (TRYAGAIN), a call for both is an outage within the bound."""
    with topologies.cluster(tmp_path) as cluster:
        connection = Connection(cluster.url)
        await connection.call("SET", "{a}1", "x")
        source = cluster.primary_of("{a}")
        target = next(node for node in cluster.primaries() if node is not source)
        source.call("SET", "{a}2", "y")
        cluster.move("{a}", target, finish=False, only=["{a}1"])
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await connection.call("MGET", "{a}1", "{a}2")
        in_time(time.monotonic() - began, 1)
        cluster.move("{a}", target)
        assert await connection.call("MGET", "{a}1", "{a}2") == [b"x", b"y"]
        await connection.close()


@pytest.mark.slow
async def test_every_page_of_a_list(tmp_path: Path) -> None:
    """Pages of any length list every user, also when a page ends together with a node."""
    with topologies.cluster(tmp_path) as cluster:
        async with service_on(cluster.url) as service:
            homes: list[ServerProcess] = []
            while len(set(map(id, homes))) < 3:
                user = await service.user(f"user{len(homes)}")
                homes.append(cluster.primary_of(keys.user(user.sub)))
            first = cluster.primary_of("{06S}")  # the owner of slot 0, where every walk begins
            for limit in range(1, len(homes) + 1):
                cursors, names = await pages(service, limit)
                assert sorted(names) == sorted(f"user{n}" for n in range(len(homes))), (limit, cursors)
                if limit == homes.count(first):
                    # The page holds all of the first node and nothing of the second.
                    assert cursors[0] == "0.1"


async def pages(service: Service, limit: int) -> tuple[list[str], list[str]]:
    """List all users; the cursors and the usernames in their order."""
    cursors, names, cursor = [], [], "0"
    while cursor is not None:
        params = {"limit": str(limit), "cursor": cursor}
        answer = await service.http.get("/admin/users", params=params, auth=service.admin)
        assert answer.status_code == 200, (answer.text, cursor)
        names += [user["username"] for user in answer.json()["items"]]
        cursor = answer.json()["next"]
        cursors += [cursor] if cursor is not None else []
    return cursors, names


@pytest.mark.slow
async def test_one_node_of_a_cluster_dies(tmp_path: Path) -> None:
    """Records on the other nodes are read without delay. When a replica takes over, all records are."""
    with topologies.cluster(tmp_path, "cluster-require-full-coverage no", replicas=1) as cluster:
        async with service_on(cluster.url, Timeouts()) as service:
            dead = await one_that_is_not_vital(service, cluster)
            gone = await token_of(service, cluster, lambda homes: homes[0] is dead)
            others = [await token_of(service, cluster, lambda homes: dead not in homes) for _ in range(3)]
            dead.kill()
            began = time.monotonic()
            assert await status(service, gone) == 503
            for token in others * 10:
                assert await status(service, token) == 200
            in_time(time.monotonic() - began, 1)

            async def answers() -> bool:
                return await status(service, gone) == 200

            await eventually(answers, 15)


async def one_that_is_not_vital(service: Service, cluster: Cluster) -> ServerProcess:
    """A primary without any record that every introspection needs. Changes the admin client if need be."""
    vital = [cluster.primary_of(keys.SERVICE), cluster.primary_of(keys.client("app"))]
    while (home := cluster.primary_of(keys.client(service.admin[0]))) not in vital:
        _, service.admin = await service.client("introspect")
    return next(node for node in cluster.primaries() if node not in [*vital, home])


async def token_of(service: Service, cluster: Cluster, wanted: Callable[[list[ServerProcess]], bool]) -> str:
    """A token of a new user. wanted: whether the primaries of its session and of its user fit the test."""
    while True:
        user = await service.user(f"user{time.monotonic_ns()}")
        session = await service.login(user.username or "")
        names = (keys.session(session["session_id"]), keys.user(user.sub))
        if wanted([cluster.primary_of(name) for name in names]):
            return str(session["access_token"])


@pytest.mark.slow
async def test_a_cluster_that_is_down(tmp_path: Path) -> None:
    """CLUSTERDOWN is 503 within the bound, until the cluster is whole again."""
    # With `everysec`, the default, a server that is killed while its disk syncs loses acknowledged writes.
    with topologies.cluster(tmp_path, "appendonly yes", "appendfsync always") as cluster:
        async with service_on(cluster.url, Timeouts()) as service:
            await service.user()
            session = await service.login()
            dead = next(node for node in cluster.primaries() if node is not cluster.primary_of(keys.SERVICE))
            dead.kill()

            async def down() -> bool:
                began = time.monotonic()
                answer = await status(service, session["access_token"])
                in_time(time.monotonic() - began, 1.5)
                return answer == 503

            await eventually(down)
            await asyncio.to_thread(dead.start)

            async def answers() -> bool:
                return await status(service, session["access_token"]) == 200

            await eventually(answers)


@pytest.mark.slow
async def test_a_login_goes_on_without_the_node_of_the_lists(tmp_path: Path) -> None:
    """What a login writes for lists only may fail: for want of the node that holds it, or of a right."""
    with topologies.cluster(tmp_path, "cluster-require-full-coverage no") as cluster:
        connection = Connection(cluster.url, timeouts=PATIENT)
        lists = cluster.primary_of(keys.newest())
        here = [f"k{n}" for n in range(100) if cluster.primary_of(f"k{n}") is not lists]
        beside = [("ZADD", here[1], 1, "x")]
        others = [("ZADD", keys.newest(), 1, "x")]
        lists.kill()
        for name in here[2:12]:
            created, told = await connection.create_beside(beside, name, b"value", None, others)
            assert created
            assert len(told) == 1
        with pytest.raises(StoreUnavailable):
            await connection.batch(others)
        await connection.close()


@pytest.mark.slow
async def test_swaps_and_scans(tmp_path: Path) -> None:
    """A swap changes several keys of one slot. A scan returns every key of every node at least once."""
    with topologies.cluster(tmp_path) as cluster:
        connection = Connection(cluster.url, timeouts=PATIENT)
        assert await connection.swap([Change("{a}1", b"", b"x"), Change("{a}2", b"", b"y")])
        assert not await connection.swap([Change("{a}1", b"", b"z")])
        await connection.batch([("SET", f"k:{n}", n) for n in range(500)])
        found: set[bytes] = set()
        position = "0"
        while True:
            position, names = await connection.scan(position, "k:*", 50)
            found |= set(names)
            if position == "0":
                break
        assert len(found) == 500
        await connection.close()


@pytest.mark.slow
async def test_sentinels_that_disagree_on_the_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Sentinels that call one primary by its name and by its address vouch for none, and the log says so, once."""
    with topologies.disagreeing_sentinels(tmp_path) as (url, port):
        connection = Connection(url)
        [tracking] = await connection.trackings([keys.SERVICE], lambda _: None)
        await tracking.open()
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await connection.check_covered([tracking])
        await tracking.close()
        await connection.close()
    (line,) = [record.getMessage() for record in caplog.records if "/events is silent" in record.getMessage()]
    assert f"localhost:{port} (1)" in line
    assert f"127.0.0.1:{port} (2)" in line


@pytest.mark.slow
async def test_no_sentinel_is_forgotten(tmp_path: Path) -> None:
    """A sentinel that was dead during concurrent questions is asked again later."""
    with topologies.sentinels(tmp_path, replicas=1) as watched:
        first, *others = watched.sentinels
        connection = Connection(watched.url)
        first.kill()
        await asyncio.gather(*(connection.call("GET", "service") for _ in range(8)))
        first.start()
        for other in others:
            other.kill()
        [tracking] = await connection.trackings([keys.SERVICE], lambda _: None)
        await tracking.open()
        await tracking.close()
        await connection.close()


async def test_no_sentinel_answers(tmp_path: Path) -> None:
    """When no sentinel answers, the store is unavailable. A URL without the service's name is refused."""
    connection = Connection(f"redis+sentinel://127.0.0.1:{topologies.free_port()}/authsvc")
    with pytest.raises(StoreUnavailable):
        await connection.call("GET", "service")
    await connection.close()
    with pytest.raises(StartupError):
        Connection("redis+sentinel://127.0.0.1:1")
