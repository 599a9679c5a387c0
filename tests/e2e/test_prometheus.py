"""A real Prometheus, with the files that are shipped: it takes what we serve, the dashboard has data, alerts fire."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import Server, free_port
from tests.processes import until
from tests.stores import StoreProcess, running_store
from tools.prometheus import Prometheus, panels, running
from tools.traffic import Traffic

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed: Debian's package has that name"
)

# So that a store that was killed has everything again.
LASTING = ("--appendonly", "yes", "--appendfsync", "always")
# The alert waits for 30 s, the service looks every 5 s, and Prometheus every second.
FIRES_WITHIN_S = 90


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreProcess]:
    (tmp_path / "store").mkdir()
    with running_store(*LASTING, directory=tmp_path / "store") as store:
        yield store


@pytest.fixture
def watched(
    new_server: Callable[..., Server], store: StoreProcess, tmp_path: Path
) -> Iterator[tuple[Server, Prometheus]]:
    port = free_port()
    server = new_server(
        AUTHSVC_REDIS_URL=store.url, AUTHSVC_WORKERS="2", AUTHSVC_METRICS_PORT=str(port)
    ).start()  # fmt: skip
    with running(tmp_path, free_port(), f"127.0.0.1:{port}") as prometheus:
        yield server, prometheus


@pytest.mark.slow
def test_under_load_and_without_its_store(
    watched: tuple[Server, Prometheus], store: StoreProcess, tmp_path: Path
) -> None:
    """Under load every graph of the dashboard has data. Then the store is killed: an alert fires, and later ends."""
    server, prometheus = watched
    with Traffic(server.url, server.admin).flowing(), ExitStack() as stack:
        until(lambda: prometheus.query("sum(authsvc_tokens_checked_total{result='active'}) > 20"), 30)
        until(lambda: not missing(prometheus), 30)
        assert prometheus.query("authsvc_workers_ready == authsvc_workers")
        assert prometheus.firing() == set()

        store.process.kill()
        store.process.wait()
        until(lambda: "AuthsvcNotReady" in prometheus.firing(), FIRES_WITHIN_S)
        assert prometheus.query("rate(authsvc_requests_total{route='/introspect',status='503'}[4s]) > 0")
        assert prometheus.query("authsvc_store_errors_total{kind='connection'} > 0")
        assert prometheus.query("job:authsvc_errors:ratio5m > 0.0144")

        stack.enter_context(running_store(*LASTING, directory=tmp_path / "store"))
        until(lambda: "AuthsvcNotReady" not in prometheus.firing(), 30)
        until(lambda: prometheus.query("rate(authsvc_requests_total{route='/introspect',status='200'}[4s]) > 0"), 30)


def missing(prometheus: Prometheus) -> list[str]:
    """The graphs' lines that Prometheus has nothing for, or not a number. It raises for what it can't parse."""
    found = []
    for panel in panels():
        for expression, legend in panel.targets:
            values = [sample["value"][1] for sample in prometheus.query(expression)]
            if not values or "NaN" in values:
                found.append(f"{panel.title}: {legend}")
    return found


def test_an_expression_that_is_wrong_is_told(tmp_path: Path) -> None:
    """The check above is one: Prometheus refuses what it can't parse, and finds nothing where there is nothing."""
    with running(tmp_path, free_port(), f"127.0.0.1:{free_port()}") as prometheus:
        with pytest.raises(ValueError, match="parse error"):
            prometheus.query("sum by (")
        assert prometheus.query("authsvc_nothing_total") == []
        assert len(missing(prometheus)) == sum(len(panel.targets) for panel in panels())
