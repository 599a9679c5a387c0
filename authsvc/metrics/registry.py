"""The values of all workers, added up for Prometheus."""

import math
import platform
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from authsvc import __version__
from authsvc.metrics.families import Call, Family, families
from authsvc.metrics.values import Offsets, Values, cell_count, offsets

PREFIX = "authsvc_"

# An array of doubles in an unnamed file, which the supervisor and one worker process share.
SharedArray = Any  # ctypes has no name for its type


def values_in(array: SharedArray) -> Values:
    return memoryview(array).cast("B").cast("d")


class WorkerRegistry(Collector):
    """Adds up the values of all workers. Counters keep the counts of ended workers; gauges drop them.

    Each worker shares its array with this process. So a scrape asks nothing of a worker that hangs, a killed
    worker loses no counts, and no files are left behind.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self._families = families(calls)
        self._offsets = offsets(self._families)
        self._arrays: list[SharedArray] = []
        self._ended_workers = [0.0] * cell_count(self._families)
        self._restarts = 0
        self._started = time.time()
        self._lock = threading.Lock()  # the metrics server calls `collect` on a thread of its own

    def add_worker(self) -> SharedArray:
        """Make the array of one more worker. It can be passed to a process that is being spawned."""
        array = get_context("spawn").RawArray("d", cell_count(self._families))
        with self._lock:
            self._arrays.append(array)
        return array

    def remove_worker(self, array: SharedArray, *, died: bool = False) -> None:
        """Keep the counts of a worker that has ended. died: the worker ended although nobody stopped it."""
        with self._lock:
            self._arrays = [other for other in self._arrays if other is not array]
            self._ended_workers = [a + b for a, b in zip(self._ended_workers, values_in(array), strict=True)]
            self._restarts += died

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            running = [sum(cells) for cells in zip(*map(values_in, self._arrays), strict=True)]
            running = running or [0.0] * len(self._ended_workers)
            total = [a + b for a, b in zip(self._ended_workers, running, strict=True)]
            workers, restarts = len(self._arrays), self._restarts
        for family in self._families:
            yield _metric(family, self._offsets[family.name], running if family.kind == "gauge" else total)
        about = GaugeMetricFamily(PREFIX + "build_info", "The running version. Always 1.", labels=("version", "python"))
        about.add_metric((__version__, platform.python_version()), 1)
        yield about
        yield GaugeMetricFamily(PREFIX + "start_time_seconds", "When the service started.", self._started)
        yield GaugeMetricFamily(
            PREFIX + "workers", "Worker processes, including those that are being replaced.", workers
        )
        yield CounterMetricFamily(PREFIX + "worker_restarts", "Workers that died or hung, and were replaced.", restarts)


def _metric(family: Family, at: Offsets, values: list[float]) -> Metric:
    if family.kind == "histogram":
        return _histogram(family, at, values)
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(PREFIX + family.name, family.help, labels=family.labels)
    for labels, cell in at.items():
        if values[cell] or not family.is_left_out(labels):
            metric.add_metric(labels, values[cell])
    return metric


def _histogram(family: Family, at: Offsets, values: list[float]) -> HistogramMetricFamily:
    metric = HistogramMetricFamily(PREFIX + family.name, family.help, labels=family.labels)
    for labels, first in at.items():
        *counts, total = values[first : first + family.width]
        if any(counts) or not family.is_left_out(labels):
            metric.add_metric(labels, _cumulative(family.buckets, counts), total)
    return metric


def _cumulative(bounds: tuple[float, ...], counts: list[float]) -> list[tuple[str, float]]:
    total = 0.0
    buckets = []
    for bound, observed in zip((*bounds, math.inf), counts, strict=True):
        total += observed
        buckets.append(("+Inf" if bound == math.inf else repr(bound), total))
    return buckets
