"""The numbers and how they are served: exact, added up over workers, never falling, only in labels of ours."""

import shutil
import subprocess

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from authsvc.api.routes import CALLS
from authsvc.metrics import Metrics, families, numbers
from authsvc.metrics.exposition import Board, Page, cells_of
from authsvc.metrics.families import DURATIONS, OTHER
from authsvc.metrics.values import offsets, size
from tests.metrics.reading import Reading


def read(board: Board) -> Reading:
    return Reading(text(board))


def text(board: Board) -> str:
    registry = CollectorRegistry()
    registry.register(board)
    return generate_latest(registry).decode()


def metrics_on(page: Page) -> Metrics:
    return Metrics(CALLS, cells_of(page))


@pytest.fixture
def board() -> Board:
    return Board(CALLS)


def test_every_series_has_cells_of_its_own() -> None:
    """No two series share a cell, and together they take all there are."""
    everything = families(CALLS)
    taken: list[int] = []
    for family in everything:
        for first in offsets(everything)[family.name].values():
            taken += range(first, first + family.width)
    assert taken == list(range(size(everything)))
    assert len(numbers(everything)) == size(everything)


@pytest.mark.parametrize("bound", DURATIONS)
def test_a_bound_belongs_to_its_bucket(board: Board, bound: float) -> None:
    """A value is counted below the first bound that is not smaller, itself included; the sum is exact."""
    metrics = metrics_on(board.new_page())
    for value in (bound, bound * 1.0001):
        metrics.hash_duration.observe(value)
    told = read(board)
    assert told["authsvc_hash_duration_seconds_bucket", ("le", repr(bound))] == 1
    assert told["authsvc_hash_duration_seconds_bucket", ("le", "+Inf")] == 2
    assert told["authsvc_hash_duration_seconds_count"] == 2
    assert told["authsvc_hash_duration_seconds_sum"] == pytest.approx(2.0001 * bound)


def test_what_nobody_listed_is_another(board: Board) -> None:
    """A label value that is not in the list is counted, and does not become a label."""
    metrics = metrics_on(board.new_page())
    metrics.requests.add("POST", "/login/tok_secret", "200")
    metrics.refusals.add("ada")
    metrics.noted("session.ended", "success", "ada said so")
    told = text(board)
    assert "ada" not in told
    assert "tok_" not in told
    read_back = Reading(told)
    assert read_back["authsvc_requests_total", ("method", OTHER), ("route", OTHER), ("status", OTHER)] == 1
    assert read_back["authsvc_refusals_total", ("reason", OTHER)] == 1
    assert read_back["authsvc_sessions_ended_total", ("cause", OTHER)] == 1


def test_workers_are_added_up(board: Board) -> None:
    """Counters, histograms and gauges of all workers are one number each."""
    for share in (1, 2):
        metrics = metrics_on(board.new_page())
        metrics.sessions_refreshed.add(by=share)
        metrics.event_subscribers.set(share)
        metrics.event_lag.observe(0.002 * share)
    told = read(board)
    assert told["authsvc_sessions_refreshed_total"] == 3
    assert told["authsvc_event_subscribers"] == 3
    assert told["authsvc_event_lag_seconds_count"] == 2
    assert told["authsvc_workers"] == 2


def test_what_a_dead_worker_counted_stays(board: Board) -> None:
    """When a worker ends its counts stay in the sum, so nothing falls; what it was at, its gauges, is gone."""
    first, second = board.new_page(), board.new_page()
    for page in (first, second):
        metrics_on(page).sessions_refreshed.add(by=5)
        metrics_on(page).hash_waiting.set(3)
        metrics_on(page).hash_duration.observe(0.02)
    board.close_page(first, died=True)
    told = read(board)
    assert told["authsvc_sessions_refreshed_total"] == 10
    assert told["authsvc_hash_duration_seconds_count"] == 2
    assert told["authsvc_hash_queue_waiting"] == 3
    assert told["authsvc_workers"] == 1
    assert told["authsvc_worker_restarts_total"] == 1
    third = board.new_page()
    metrics_on(third).sessions_refreshed.add()
    board.close_page(second)
    told = read(board)
    assert told["authsvc_sessions_refreshed_total"] == 11
    assert told["authsvc_hash_queue_waiting"] == 0
    assert told["authsvc_worker_restarts_total"] == 1


def test_zero_is_served_before_the_first(board: Board) -> None:
    """What alerts look at is there before it first happens: a counter that appears at 1 has never risen."""
    board.new_page()
    told = read(board)
    for name, label in (
        ("authsvc_refresh_reuse_total", ()),
        ("authsvc_hashes_refused_total", ()),
        ("authsvc_refusals_total", (("reason", "store_unavailable"),)),
        ("authsvc_throttled_total", (("window", "account"),)),
        ("authsvc_store_errors_total", (("kind", "connection"),)),
    ):
        assert told[(name, *label)] == 0


def test_promtool_finds_nothing_to_say(board: Board) -> None:
    """The names, types and help texts are as Prometheus wants them, also with every series there is."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: it comes with Debian's package prometheus")
    page = board.new_page()
    cells_of(page)[:] = memoryview(bytearray(8 * len(cells_of(page)))).cast("d")
    for at in range(len(cells_of(page))):
        cells_of(page)[at] = 1.0
    told = text(board)
    assert len(list(text_string_to_metric_families(told))) > 30
    checked = subprocess.run([promtool, "check", "metrics"], input=told, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
