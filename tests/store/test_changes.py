"""Announcements of changes: every change by any program, and every failure of the store or of the connection."""

import asyncio
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from authsvc.driver.connection import Connection
from authsvc.errors import StoreUnavailable
from authsvc.store import keys
from authsvc.store.changes import MAX_NAMED, Changes
from authsvc.store.subscription import EVERYTHING, MAX_BACKLOG, Announcement, Subscription
from tests.conftest import PATIENT
from tests.outages.test_outage import Valkey
from tests.streams import named

WITHIN_S = 60.0  # a second on an idle machine
# The next heartbeat comes within a second, and a silent store is noticed within 0.8 s.
SILENT_WITHIN_S = 2.0
HEARTBEAT = Announcement("heartbeat", at=1.0)


class Listener:
    """A subscriber that reads all the time. told: its announcements so far, with their times."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.told: list[tuple[Announcement, float]] = []
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while (announcement := await self.subscription.take()) is not None:
            self.told.append((announcement, time.monotonic()))

    async def until(self, done: Callable[[], Any], seconds: float = WITHIN_S) -> None:
        async with asyncio.timeout(seconds):
            while not done():  # noqa: ASYNC110 - some conditions are in the store
                await asyncio.sleep(0.002)

    def names(self, since: int = 0) -> list[str]:
        return [announcement.name for announcement, _ in self.told[since:]]

    def digests(self, since: int = 0) -> set[str]:
        return {digest for announcement, _ in self.told[since:] for digest in announcement.digests}

    async def hears(self, name: str, seconds: float = WITHIN_S) -> None:
        """Wait for one more announcement of this name."""
        since = len(self.told)
        await self.until(lambda: name in self.names(since), seconds)


@pytest.fixture
async def changes(valkey: "redis.Redis", valkey_url: str) -> AsyncIterator[Changes]:
    async for changes in _changes(valkey_url):
        yield changes


async def _changes(url: str) -> AsyncIterator[Changes]:
    connection = Connection(url, timeouts=PATIENT)
    changes = Changes(connection)
    try:
        yield changes
    finally:
        await changes.close()
        await connection.close()


@pytest.fixture
async def listener(changes: Changes) -> Listener:
    listener = Listener(changes.subscribe())
    await listener.hears("heartbeat")
    return listener


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A store of the test's own, which the test may stop and kill."""
    server = Valkey(Path(tmp_path_factory.mktemp("v")))
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
async def fragile(server: Valkey) -> AsyncIterator[Listener]:
    """A listener to that store."""
    async for changes in _changes(server.url):
        listener = Listener(changes.subscribe())
        await listener.hears("heartbeat")
        yield listener


def evict(valkey: "redis.Redis") -> None:
    valkey.config_set("maxmemory-policy", "allkeys-random")
    valkey.config_set("maxmemory", 1)
    valkey.ping()
    with suppress(redis.ResponseError):  # the store has evicted every key that it could
        valkey.set("unrelated", "x")
    valkey.config_set("maxmemory", 0)
    valkey.config_set("maxmemory-policy", "noeviction")


# Any: redis-py declares the results of every protocol.
CHANGES: dict[str, Callable[[Any], Any]] = {
    "SET": lambda valkey: valkey.set("session:a", "other"),
    "the same value": lambda valkey: valkey.set("session:a", "value"),
    "DEL": lambda valkey: valkey.delete("session:a"),
    "UNLINK": lambda valkey: valkey.unlink("session:a"),
    "RENAME away": lambda valkey: valkey.rename("session:a", "elsewhere"),
    "RENAME onto": lambda valkey: valkey.rename("spare", "session:a"),
    "EXPIRE": lambda valkey: valkey.pexpire("session:a", 60_000),
    "a past expiry": lambda valkey: valkey.pexpireat("session:a", 1),
    "RESTORE": lambda valkey: valkey.restore("session:a", 0, valkey.dump("spare"), replace=True),
    "COPY": lambda valkey: valkey.copy("spare", "session:a", replace=True),
    "a script": lambda valkey: valkey.eval("return redis.call('DEL', KEYS[1])", 1, "session:a"),
    "a transaction": lambda valkey: valkey.pipeline(transaction=True).set("session:a", "other").execute(),
    "eviction": evict,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_every_kind_of_change(changes: Changes, valkey: "redis.Redis", change: Callable[..., Any]) -> None:
    """Any command that changes a key is announced under the name of that key, and of no other."""
    valkey.set("session:a", "value")
    valkey.set("spare", "value")
    listener = Listener(changes.subscribe())
    await listener.hears("heartbeat")
    since = len(listener.told)
    change(valkey)
    await listener.until(lambda: named("session:a") <= listener.digests(since))
    assert listener.digests(since) == named("session:a")
    assert "everything" not in listener.names(since)


async def test_expiry(changes: Changes, valkey: "redis.Redis") -> None:
    """A key that expires is announced when it is gone, without any command."""
    valkey.set("session:a", "value", px=1500)
    listener = Listener(changes.subscribe())
    await listener.hears("heartbeat")
    assert listener.digests() == set()
    await listener.until(lambda: named("session:a") <= listener.digests())
    assert valkey.exists("session:a") == 0


@pytest.mark.parametrize("flush", ["FLUSHDB", "FLUSHALL", "FLUSHDB ASYNC"])
async def test_a_flush_is_everything(listener: Listener, valkey: Any, flush: str) -> None:
    """A flush names no key, so `everything` is announced at once."""
    valkey.execute_command(*flush.split())
    await listener.hears("everything", 0.5)


async def test_only_what_answers_depend_on(listener: Listener, valkey: "redis.Redis") -> None:
    """Announced are the four kinds of records that answers depend on, not passwords, lists, names or attempts."""
    told = ["session:h", "user:{u}", "client:c", "service"]
    for other in ("sessions:{u}", "credentials:{u}", "login:u", "audit", "code:h", "throttle:x"):
        valkey.set(other, 1)
    for key in told:
        valkey.set(key, 1)
    await listener.until(lambda: len(listener.digests()) >= 4)
    await listener.hears("heartbeat")
    assert listener.digests() == named(*told)


async def test_the_first_is_everything(changes: Changes, valkey: "redis.Redis") -> None:
    """A subscription begins with `everything`, also when others are subscribed and the store changes all the time."""
    running = True

    async def change() -> None:
        while running:
            await asyncio.to_thread(valkey.set, "session:a", 1)

    changing = asyncio.create_task(change())
    listeners = []
    for _ in range(50):
        listeners.append(Listener(changes.subscribe()))
        await asyncio.sleep(0.01)
    await asyncio.gather(*[listener.hears("heartbeat") for listener in listeners])
    for listener in listeners:
        assert listener.names()[0] == "everything"
        assert "everything" not in listener.names(1)
    running = False
    await changing


@pytest.mark.slow
async def test_no_connection_before_anybody_listens(changes: Changes, valkey: "redis.Redis") -> None:
    """The worker has a connection to follow the store only while it has a subscriber."""

    def followers() -> int:
        return sum(client["name"] == "authsvc-events" for client in valkey.client_list())

    assert followers() == 0
    for _ in range(3):
        one, other = Listener(changes.subscribe()), Listener(changes.subscribe())
        await one.hears("heartbeat")
        assert followers() == 1
        one.subscription.close()
        await other.hears("heartbeat")
        other.subscription.close()
        await other.until(lambda: followers() == 0)


@pytest.mark.slow
async def test_what_was_acknowledged_is_told_before_the_heartbeat(changes: Changes, valkey_url: str) -> None:
    """A change that was acknowledged before the moment in a heartbeat is announced before that heartbeat."""
    listener = Listener(changes.subscribe())
    await listener.hears("heartbeat")
    acknowledged: list[tuple[str, float]] = []
    running = True

    async def write(name: str) -> None:
        number = 0
        writer = redis.asyncio.Redis.from_url(valkey_url)
        while running:
            number += 1
            key = f"session:{name}-{number}"
            await writer.set(key, 1, ex=60)
            acknowledged.append((keys.digest(key.encode()), time.monotonic()))
        await writer.aclose()

    writers = [asyncio.create_task(write(str(number))) for number in range(8)]
    for _ in range(3):
        await listener.hears("heartbeat")
    running = False
    await asyncio.gather(*writers)
    await listener.hears("heartbeat")
    await listener.hears("heartbeat")
    told_at: dict[str, int] = {}
    beats: list[tuple[int, float]] = []
    for position, (announcement, _) in enumerate(listener.told):
        if announcement.at is not None:
            beats.append((position, announcement.at / 1000))
        for digest in announcement.digests:
            told_at.setdefault(digest, position)
    assert len(acknowledged) > 100
    assert listener.names(1).count("everything") == 0
    for digest, at in acknowledged:
        assert told_at[digest] < next(position for position, beat_at in beats if beat_at > at)


@pytest.mark.slow
async def test_a_heartbeat_waits_for_the_store(fragile: Listener, server: Valkey) -> None:
    """While the store hangs there are no heartbeats. When it goes on, `everything` comes before the next heartbeat."""
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    stopped = time.monotonic()
    # One heartbeat may have been on its way.
    await asyncio.sleep(SILENT_WITHIN_S)
    since = len(fragile.told)
    assert all(at - stopped < 0.1 for _, at in fragile.told if at > stopped)
    await asyncio.sleep(1.5)
    assert fragile.names(since) == []
    os.kill(server.process.pid, signal.SIGCONT)
    await fragile.until(lambda: "heartbeat" in fragile.names(since))
    assert fragile.names(since)[:2] == ["everything", "heartbeat"]
    await _announces(fragile, server)


@pytest.mark.slow
@pytest.mark.parametrize("pause_s", [0.3, 0.7, 0.9, 1.2])
async def test_a_store_that_hangs_for_a_moment(fragile: Listener, server: Valkey, pause_s: float) -> None:
    """A change right after a short hang of the store is announced, by name or as `everything`, before a heartbeat."""
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    await asyncio.sleep(pause_s)
    os.kill(server.process.pid, signal.SIGCONT)
    with redis.Redis.from_url(server.url) as client:
        await asyncio.to_thread(client.set, f"session:{pause_s}", 1)
    since = len(fragile.told)
    await fragile.hears("heartbeat")
    await fragile.hears("heartbeat")
    told = named(f"session:{pause_s}") <= fragile.digests()
    assert told or "everything" in fragile.names(since) or "everything" in fragile.names()[-4:]


async def test_a_store_that_dies(fragile: Listener, server: Valkey) -> None:
    """After a kill -9 there are no heartbeats. After the restart `everything` comes first, and then changes."""
    server.kill()
    await asyncio.sleep(0.1)
    since = len(fragile.told)
    await asyncio.sleep(1.5)
    assert fragile.names(since) == []
    await asyncio.to_thread(server.start)
    await fragile.until(lambda: "heartbeat" in fragile.names(since), 3)
    assert fragile.names(since)[:2] == ["everything", "heartbeat"]
    await _announces(fragile, server)


async def test_a_connection_that_dies(fragile: Listener, server: Valkey) -> None:
    """If only the tracking connection is killed, `everything` soon covers the changes made meanwhile."""
    with redis.Redis.from_url(server.url) as client:
        for _ in range(5):
            since = len(fragile.told)
            (number,) = [c["id"] for c in client.client_list() if c["name"] == "authsvc-events"]
            assert client.client_kill_filter(_id=number) == 1
            client.set("session:missed", 1)
            await fragile.hears("heartbeat", 1)
            assert fragile.names(since)[:2] == ["everything", "heartbeat"]
            await _announces(fragile, server)


@pytest.mark.slow
async def test_a_primary_that_is_demoted(fragile: Listener, server: Valkey) -> None:
    """While the store is a replica there are no heartbeats. `everything` comes first when it is a primary again."""
    with redis.Redis.from_url(server.url) as client:
        client.replicaof("127.0.0.1", "1")
        await asyncio.sleep(SILENT_WITHIN_S)
        since = len(fragile.told)
        await asyncio.sleep(1.2)
        assert "heartbeat" not in fragile.names(since)
        client.replicaof("NO", "ONE")
        await fragile.until(lambda: "heartbeat" in fragile.names(since))
        before = fragile.names(since)
        assert before[before.index("heartbeat") - 1] == "everything"


@pytest.mark.slow
async def test_a_store_that_refuses_to_track(fragile: Listener, server: Valkey) -> None:
    """If an ACL forbids tracking there are no heartbeats."""
    with redis.Redis.from_url(server.url) as client:
        client.acl_setuser("operator", enabled=True, passwords=["+operator"], keys=["*"], commands=["+@all"])
    with server.operator() as operator:
        operator.execute_command("ACL", "SETUSER", "default", "-client|tracking")
        (number,) = [c["id"] for c in operator.client_list() if c["name"] == "authsvc-events"]
        operator.client_kill_filter(_id=number)
        await asyncio.sleep(0.1)
        since = len(fragile.told)
        await asyncio.sleep(1.5)
        assert fragile.names(since) == []
        operator.execute_command("ACL", "SETUSER", "default", "+client|tracking")
        await fragile.hears("heartbeat")
        assert fragile.names(since)[:2] == ["everything", "heartbeat"]


async def _announces(listener: Listener, server: Valkey) -> None:
    """Check that changes are announced again, and not only heartbeats."""
    since = len(listener.told)
    with redis.Redis.from_url(server.url) as client:
        client.set("session:afterwards", time.monotonic())
    await listener.until(lambda: named("session:afterwards") <= listener.digests(since))


async def test_many_announcements_before_an_answer(listener: Listener, valkey: "redis.Redis") -> None:
    """Thousands of unread announcements in the connection are all delivered: no limit of depth drops one."""
    since = len(listener.told)
    for number in range(3000):  # the event loop is busy, so nothing is read meanwhile
        valkey.set(f"session:{number}", 1)
    expected = named(*(f"session:{number}" for number in range(3000)))
    await listener.until(lambda: expected <= listener.digests(since) or "everything" in listener.names(since))
    await listener.hears("heartbeat")
    assert expected <= listener.digests(since)


async def test_changes_of_one_moment_are_few_announcements(listener: Listener, valkey: "redis.Redis") -> None:
    """Two thousand changes in one transaction make a few announcements of at most a thousand digests each."""
    since = len(listener.told)
    with valkey.pipeline(transaction=True) as pipeline:
        for number in range(2000):
            pipeline.set(f"session:{number}", 1)
        pipeline.execute()
    expected = named(*(f"session:{number}" for number in range(2000)))
    await listener.until(lambda: expected <= listener.digests(since))
    announcements = [told for told, _ in listener.told[since:] if told.digests]
    assert len(announcements) <= 4
    assert max(len(told.digests) for told in announcements) <= 1000


@pytest.mark.slow
async def test_too_many_changes_are_everything(listener: Listener, valkey: "redis.Redis") -> None:
    """Above a number of changes at once, `everything` takes the place of their names."""
    since = len(listener.told)
    with valkey.pipeline(transaction=True) as pipeline:
        for number in range(5 * MAX_NAMED):
            pipeline.set(f"session:{number}", 1)
        await asyncio.to_thread(pipeline.execute)
    await listener.until(lambda: "everything" in listener.names(since))


@pytest.mark.slow
async def test_a_subscriber_that_does_not_read_costs_nothing(changes: Changes, valkey: "redis.Redis") -> None:
    """A subscriber that never reads costs no memory during 200,000 changes, and then gets `everything`.

    Other subscribers get the changes meanwhile.
    """
    sleeper = changes.subscribe()
    reader = Listener(changes.subscribe())
    await reader.hears("heartbeat")
    assert await sleeper.take() is EVERYTHING  # without this it would need no announcement at all

    def change() -> None:
        for at in range(0, 200_000, 500):
            with valkey.pipeline(transaction=False) as pipeline:
                for number in range(at, at + 500):
                    pipeline.delete(f"session:{number}") if number % 2 else pipeline.set(f"session:{number}", 1)
                pipeline.execute()

    await asyncio.to_thread(change)  # the first round takes memory for buffers and code
    reader.told.clear()
    before = rss_kib()
    for _ in range(2):
        await asyncio.to_thread(change)
        reader.told.clear()
    await reader.hears("heartbeat")
    assert rss_kib() - before < 8 * 1024
    assert await sleeper.take() is EVERYTHING
    following = await sleeper.take()
    assert following is not None
    assert following.name == "heartbeat" or following.digests


def rss_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


async def test_a_backlog_is_bounded(changes: Changes) -> None:
    """A subscriber that falls behind gets one `everything` for all that it missed, and then new announcements."""
    left: list[Subscription] = []
    subscription = Subscription(left.append)
    news = [Announcement("forget", frozenset(named(str(number)))) for number in range(MAX_BACKLOG + 5)]
    for announcement in news[:MAX_BACKLOG]:
        subscription.put(announcement)
    assert [await subscription.take() for _ in range(2)] == news[:2]
    for announcement in news[:4]:
        subscription.put(announcement)
    subscription.put(HEARTBEAT)
    assert await subscription.take() is EVERYTHING
    subscription.put(news[-1])
    assert [await subscription.take() for _ in range(2)] == [HEARTBEAT, news[-1]]
    subscription.close()
    assert await subscription.take() is None
    assert left == [subscription]


async def test_no_old_heartbeat_is_told(changes: Changes) -> None:
    """A subscriber that was away gets the changes, but no heartbeat older than a second."""
    subscription = Subscription(lambda _: None)
    news = [Announcement("forget", frozenset(named(str(number)))) for number in range(3)]
    for announcement in (news[0], HEARTBEAT, news[1], HEARTBEAT, news[2]):
        subscription.put(announcement)
    assert [await subscription.take() for _ in range(4)] == [news[0], news[1], HEARTBEAT, news[2]]
    subscription.put(HEARTBEAT)
    await asyncio.sleep(1.1)
    subscription.put(news[0])
    assert await subscription.take() is news[0]


async def test_leaving_while_the_store_fails(changes: Changes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last subscriber can leave in the moment in which the store fails, so that a service can stop then."""
    broken = asyncio.Event()
    begun = asyncio.Event()

    async def listen() -> None:
        begun.set()
        await broken.wait()
        raise StoreUnavailable("gone")

    async def follow_once() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(listen())

    monkeypatch.setattr(changes, "_follow_once", follow_once)
    subscription = changes.subscribe()
    async with asyncio.timeout(WITHIN_S):
        await begun.wait()
        broken.set()
        await asyncio.sleep(0)  # the task has failed, and its group does not know yet
        subscription.close()
        await changes.close()
