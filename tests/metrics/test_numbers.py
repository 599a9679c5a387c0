"""Metrics are exact, are added up over workers, never fall, and have only listed labels."""

import shutil
import subprocess

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from authsvc.api.routes import CALLS
from authsvc.core.event import Event
from authsvc.metrics import Metrics, families, new_values
from authsvc.metrics.families import DURATIONS, OTHER
from authsvc.metrics.registry import SharedArray, WorkerRegistry, values_in
from authsvc.metrics.values import cell_count, offsets
from tests.metrics.reading import Reading


def read(workers: WorkerRegistry) -> Reading:
    return Reading(text(workers))


def text(workers: WorkerRegistry) -> str:
    registry = CollectorRegistry()
    registry.register(workers)
    return generate_latest(registry).decode()


def metrics_on(array: SharedArray) -> Metrics:
    return Metrics(CALLS, values_in(array))


@pytest.fixture
def workers() -> WorkerRegistry:
    return WorkerRegistry(CALLS)


def test_every_series_has_cells_of_its_own() -> None:
    """No two series share a cell, and no cell is unused."""
    everything = families(CALLS)
    taken: list[int] = []
    for family in everything:
        for first in offsets(everything)[family.name].values():
            taken += range(first, first + family.width)
    assert taken == list(range(cell_count(everything)))
    assert len(new_values(everything)) == cell_count(everything)


@pytest.mark.parametrize("bound", DURATIONS)
def test_a_bound_belongs_to_its_bucket(workers: WorkerRegistry, bound: float) -> None:
    """A value that equals a bound counts in the bucket of this bound, and the sum is exact."""
    metrics = metrics_on(workers.add_worker())
    for value in (bound, bound * 1.0001):
        metrics.hash_duration.observe(value)
    told = read(workers)
    assert told["authsvc_hash_duration_seconds_bucket", ("le", repr(bound))] == 1
    assert told["authsvc_hash_duration_seconds_bucket", ("le", "+Inf")] == 2
    assert told["authsvc_hash_duration_seconds_count"] == 2
    assert told["authsvc_hash_duration_seconds_sum"] == pytest.approx(2.0001 * bound)


def test_an_unlisted_label_counts_as_other(workers: WorkerRegistry) -> None:
    """An unlisted label value is counted without becoming a label."""
    metrics = metrics_on(workers.add_worker())
    metrics.requests.add("POST", "/login/tok_secret", "200")
    metrics.refusals.add("ada")
    metrics.count_event(Event.SESSION_ENDED, "success", "ada said so")
    told = text(workers)
    assert "ada" not in told
    assert "tok_" not in told
    read_back = Reading(told)
    assert read_back["authsvc_requests_total", ("method", OTHER), ("route", OTHER), ("status", OTHER)] == 1
    assert read_back["authsvc_refusals_total", ("reason", OTHER)] == 1
    assert read_back["authsvc_sessions_ended_total", ("cause", OTHER)] == 1


def test_workers_are_added_up(workers: WorkerRegistry) -> None:
    """Counters, histograms and gauges are the sums of all workers."""
    for share in (1, 2):
        metrics = metrics_on(workers.add_worker())
        metrics.sessions_refreshed.add(by=share)
        metrics.event_subscribers.set(share)
        metrics.event_lag.observe(0.002 * share)
    told = read(workers)
    assert told["authsvc_sessions_refreshed_total"] == 3
    assert told["authsvc_event_subscribers"] == 3
    assert told["authsvc_event_lag_seconds_count"] == 2
    assert told["authsvc_workers"] == 2


def test_counts_outlive_their_worker(workers: WorkerRegistry) -> None:
    """When a worker ends, its counts stay in the sum and its gauges leave it."""
    first, second = workers.add_worker(), workers.add_worker()
    for array in (first, second):
        metrics_on(array).sessions_refreshed.add(by=5)
        metrics_on(array).hash_waiting.set(3)
        metrics_on(array).hash_duration.observe(0.02)
    workers.remove_worker(first, died=True)
    told = read(workers)
    assert told["authsvc_sessions_refreshed_total"] == 10
    assert told["authsvc_hash_duration_seconds_count"] == 2
    assert told["authsvc_hash_queue_waiting"] == 3
    assert told["authsvc_workers"] == 1
    assert told["authsvc_worker_restarts_total"] == 1
    third = workers.add_worker()
    metrics_on(third).sessions_refreshed.add()
    workers.remove_worker(second)
    told = read(workers)
    assert told["authsvc_sessions_refreshed_total"] == 11
    assert told["authsvc_hash_queue_waiting"] == 0
    assert told["authsvc_worker_restarts_total"] == 1


def test_zero_is_served_before_the_first(workers: WorkerRegistry) -> None:
    """Counters of alerts exist at 0, because Prometheus sees no rise in a counter that appears at 1."""
    workers.add_worker()
    told = read(workers)
    for name, label in (
        ("authsvc_refresh_reuse_total", ()),
        ("authsvc_tokens_leaked_total", (("kind", "access"),)),
        ("authsvc_hashes_refused_total", ()),
        ("authsvc_refusals_total", (("reason", "store_unavailable"),)),
        ("authsvc_throttled_total", (("window", "account"),)),
        ("authsvc_store_errors_total", (("kind", "connection"),)),
    ):
        assert told[(name, *label)] == 0


def test_promtool_has_no_complaints(workers: WorkerRegistry) -> None:
    """Names, types and help texts follow the rules of Prometheus, with every series served."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: it comes with Debian's package prometheus")
    array = workers.add_worker()
    values_in(array)[:] = memoryview(bytearray(8 * len(values_in(array)))).cast("d")
    for at in range(len(values_in(array))):
        values_in(array)[at] = 1.0
    told = text(workers)
    assert len(list(text_string_to_metric_families(told))) > 30
    checked = subprocess.run([promtool, "check", "metrics"], input=told, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
