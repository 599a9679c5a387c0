"""Announcements while the primary of a key changes, by a failover or by a slot that moves to another node."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from authsvc.driver.connection import Connection
from authsvc.errors import StoreUnavailable
from authsvc.store import keys
from authsvc.store.changes import Changes
from tests import topologies
from tests.store.test_changes import Listener
from tests.topologies import Cluster, ServerProcess

pytestmark = pytest.mark.slow

# All keys that the tests write are on one slot.
SLOT = "session:{a}"
# A failover takes a few seconds.
BACK_WITHIN_S = 15.0


@dataclass
class Written:
    """An acknowledged write: the key, and when it was sent and acknowledged, on the monotonic clock."""

    changes: list[tuple[str, float, float]] = field(default_factory=list)

    def forget_what_is_lost(self, primary: ServerProcess) -> None:
        """Ignore the writes that only a replaced primary has: no subscriber needs to know of them."""
        with primary.redis() as client:
            there = set(client.scan_iter(f"{SLOT}*", count=1000))
        self.changes = [change for change in self.changes if change[0] in there]
        assert len(self.changes) > 20

    def since(self, moment: float) -> int:
        return sum(sent > moment for _, sent, _ in self.changes)


@asynccontextmanager
async def world(url: str) -> AsyncIterator[tuple[Listener, Written]]:
    """A subscriber of one worker, while another worker with a map of its own makes changes all the time."""
    ours, theirs, written = Connection(url), Connection(url), Written()
    changes = Changes(ours)
    listener = Listener(changes.subscribe())
    await listener.hears("heartbeat", BACK_WITHIN_S)
    running = True

    async def write(name: str) -> None:
        number = 0
        while running:  # a timeout inside may swallow the cancellation
            number += 1
            key, sent = f"{SLOT}{name}-{number}", time.monotonic()
            try:
                await theirs.call("SET", key, 1, "EX", 60)
            except StoreUnavailable:
                await asyncio.sleep(0.02)
                continue
            written.changes.append((key, sent, time.monotonic()))
            await asyncio.sleep(0.01)

    writers = [asyncio.create_task(write(str(number))) for number in range(2)]
    try:
        yield listener, written
    finally:
        running = False
        await asyncio.gather(*writers)
        await changes.close()
        await theirs.close()
        await ours.close()


async def goes_on(listener: Listener, written: Written) -> None:
    """Wait for changes from now on, and for the heartbeats after them."""
    moment = time.monotonic()
    await listener.until(lambda: written.since(moment) > 20, BACK_WITHIN_S)
    asked = time.monotonic() * 1000
    await listener.until(lambda: sum((a.at or 0) > asked for a, _ in listener.told) > 1, BACK_WITHIN_S)


def untold(listener: Listener, written: Written) -> list[float]:
    """The times of changes that no name and no `everything` announced before the next heartbeat."""
    missed = []
    for key, sent, acknowledged in written.changes:
        told, digest = False, keys.digest(key.encode())
        for announcement, at in listener.told:
            told |= digest in announcement.digests or (announcement.name == "everything" and at > sent)
            if announcement.at is not None and announcement.at / 1000 > acknowledged:
                if not told:
                    missed.append(acknowledged)
                break
    return missed


@pytest.mark.parametrize("how", ["kill -9", "SENTINEL FAILOVER"])
async def test_a_failover_under_sentinels(tmp_path: Path, how: str) -> None:
    """After a failover the worker follows the new primary, and `everything` comes before the next heartbeat."""
    with topologies.sentinels(tmp_path) as watched:
        async with world(watched.url) as (listener, written):
            before, since = watched.primary(), len(listener.told)
            if how == "kill -9":
                before.kill()
                await asyncio.to_thread(watched.await_failover, before)
            else:
                await asyncio.to_thread(watched.fail_over)
            await listener.until(lambda: "everything" in listener.names(since), BACK_WITHIN_S)
            await goes_on(listener, written)
            written.forget_what_is_lost(watched.primary())
            assert untold(listener, written) == []


async def test_the_sentinels_name_another_while_the_old_one_lives(tmp_path: Path) -> None:
    """The worker stops to listen to a replaced primary, also if that was cut off and still takes itself for one."""
    with topologies.sentinels(tmp_path) as watched:
        async with world(watched.url) as (listener, written):
            since, chosen = len(listener.told), watched.replicas()[0]
            chosen.call("REPLICAOF", "NO", "ONE")
            held = int(chosen.call("DBSIZE"))
            for sentinel in watched.sentinels:
                sentinel.call("SENTINEL", "REMOVE", topologies.SERVICE)
                sentinel.call("SENTINEL", "MONITOR", topologies.SERVICE, "127.0.0.1", chosen.port, 2)
            await listener.until(lambda: int(chosen.call("DBSIZE")) > held + 20, BACK_WITHIN_S)
            await listener.until(lambda: "everything" in listener.names(since), BACK_WITHIN_S)
            await goes_on(listener, written)
            assert sum(node.is_primary() for node in watched.nodes) == 2
            written.forget_what_is_lost(chosen)
            assert untold(listener, written) == []


@pytest.mark.parametrize("how", ["kill -9", "CLUSTER FAILOVER"])
async def test_a_failover_in_a_cluster(tmp_path: Path, how: str) -> None:
    """The same for one primary of a cluster, while the other primaries stay."""
    with topologies.cluster(tmp_path, replicas=1) as cluster:
        async with world(cluster.url) as (listener, written):
            before, since = cluster.primary_of(SLOT), len(listener.told)
            if how == "kill -9":
                before.kill()
            else:
                await asyncio.to_thread(cluster.fail_over, before)
            await listener.until(lambda: "everything" in listener.names(since), BACK_WITHIN_S)
            await goes_on(listener, written)
            written.forget_what_is_lost(cluster.primary_of(SLOT))
            assert untold(listener, written) == []


async def test_a_slot_moves_to_a_known_primary(tmp_path: Path) -> None:
    """Changes before, during and after the move of a slot are announced by name, without an `everything`."""
    with topologies.cluster(tmp_path) as cluster:
        async with world(cluster.url) as (listener, written):
            target = next(node for node in cluster.primaries() if node is not cluster.primary_of(SLOT))
            await moved(cluster, target, listener, written)
            assert "everything" not in listener.names(1)
            assert untold(listener, written) == []


async def test_a_slot_moves_to_a_new_primary(tmp_path: Path) -> None:
    """The worker listens to a node that takes a slot over before a heartbeat covers changes on that node."""
    with topologies.cluster(tmp_path) as cluster:
        async with world(cluster.url) as (listener, written):
            since = len(listener.told)
            target = await asyncio.to_thread(cluster.add)
            await moved(cluster, target, listener, written)
            assert "everything" in listener.names(since)
            assert untold(listener, written) == []


async def test_a_slot_is_on_its_way_to_a_new_primary(tmp_path: Path) -> None:
    """The worker listens to a node that takes writes (ASK) before it owns a slot, for as long as that lasts."""
    with topologies.cluster(tmp_path) as cluster:
        target = await asyncio.to_thread(cluster.add)
        async with world(cluster.url) as (listener, written):
            await asyncio.to_thread(cluster.move, SLOT, target, finish=False)
            await goes_on(listener, written)
            assert int(target.call("DBSIZE")) > 0
            assert "everything" not in listener.names(1)
            assert untold(listener, written) == []


async def moved(cluster: Cluster, target: ServerProcess, listener: Listener, written: Written) -> None:
    for step in (_half, _whole):
        await asyncio.to_thread(step, cluster, target)
        await goes_on(listener, written)
    assert cluster.primary_of(SLOT) is target


def _half(cluster: Cluster, target: ServerProcess) -> None:
    cluster.move(SLOT, target, finish=False)


def _whole(cluster: Cluster, target: ServerProcess) -> None:
    cluster.move(SLOT, target)
