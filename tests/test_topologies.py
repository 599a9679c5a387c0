"""The launchers of tests/topologies.py do what the tests of outages rely on."""

from pathlib import Path

import pytest
import redis
from redis.exceptions import AskError

from tests.processes import until
from tests.topologies import cluster, replicated, sentinels, standalone

pytestmark = pytest.mark.slow


def test_a_killed_server_comes_back_with_what_it_kept(tmp_path: Path) -> None:
    """A killed server that starts again has the same port and the same data."""
    with standalone(tmp_path, "appendonly yes", "appendfsync always") as server:
        server.call("SET", "a", 1)
        server.kill()
        with pytest.raises(redis.ConnectionError):
            server.call("GET", "a")
        assert server.start().call("GET", "a") == "1"


def test_frozen_replication_loses_what_was_written_meanwhile(tmp_path: Path) -> None:
    """Writes during a freeze are missing on a replica that becomes the primary; after a thaw they all arrive."""
    with replicated(tmp_path, replicas=2) as store:
        with store.primary().redis() as client:
            client.set("a", "old")
            assert client.wait(2, 5000) == 2
        store.freeze_replication()
        store.primary().call("SET", "a", "new")
        store.thaw_replication()
        until(lambda: all(node.call("GET", "a") == "new" for node in store.nodes))
        store.freeze_replication()
        store.primary().call("DEL", "a")
        store.primary().kill()
        assert store.fail_over().call("GET", "a") == "new"


@pytest.mark.parametrize("password", [None, "s3cret"])
def test_sentinels_replace_a_dead_primary(tmp_path: Path, password: str | None) -> None:
    """Sentinels fail over on demand, and when the primary dies. The old primary comes back as a replica."""
    with sentinels(tmp_path, password=password, sentinel_password=password) as store:
        first = store.primary()
        second = store.fail_over()
        until(lambda: not first.is_primary())
        until(lambda: all(node.follows() for node in store.replicas()))
        with second.redis() as client:  # on one connection, because WAIT counts only the writes of its own
            client.set("a", 1)
            assert client.wait(2, 5000) == 2
        second.kill()
        third = store.await_failover(second)
        assert third.call("GET", "a") == "1"
        second.start()
        until(lambda: not second.is_primary(), 20)


def test_a_cluster_fails_over_and_moves_slots(tmp_path: Path) -> None:
    """Every key has one primary. A replica can take over, and a slot can move, also halfway."""
    with cluster(tmp_path, replicas=1) as store:
        source = store.primary_of("a")
        source.call("SET", "a", 1)
        target = next(node for node in store.primaries() if node is not source)
        store.move("a", target, finish=False)
        with pytest.raises(AskError):
            source.call("GET", "a")
        store.move("b", next(node for node in store.primaries() if node is not store.primary_of("b")))
        owner = store.primary_of("c")
        assert store.fail_over(owner) is store.primary_of("c")
        until(owner.follows)
        dead = store.primary_of("c")
        dead.kill()
        until(lambda: len(store.primaries()) == 3 and store.whole(), 20)
        assert store.primary_of("c") is not dead
