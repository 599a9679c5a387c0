"""Serving the numbers of all workers to Prometheus, on a port of its own."""

import math
import os
import platform
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from authsvc import __version__
from authsvc.errors import StartupError
from authsvc.metrics.families import Call, Family, families
from authsvc.metrics.values import Cells, offsets, size

PREFIX = "authsvc_"

# Memory that a worker process gets when it is started: an array of doubles in a file without a name.
Page = Any  # ctypes has no name for its type


def cells_of(page: Page) -> Cells:
    return memoryview(page).cast("B").cast("d")


class Board(Collector):
    """The numbers of all workers, added up. What ended workers have counted stays; what they were at is gone.

    The memory is ours and the worker's, so that nothing has to be asked of a worker that hangs, nothing is lost that
    one had counted when it was killed, and there are no files to clean up.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self._families = families(calls)
        self._at = offsets(self._families)
        self._pages: list[Page] = []
        self._past = [0.0] * size(self._families)
        self._restarts = 0
        self._started = time.time()
        self._lock = threading.Lock()  # it is read on a thread of the server

    def new_page(self) -> Page:
        """For one worker; it can be given to a process that is being spawned."""
        page = get_context("spawn").RawArray("d", size(self._families))
        with self._lock:
            self._pages.append(page)
        return page

    def close_page(self, page: Page, *, died: bool = False) -> None:
        """Keep what a worker had counted, once it has ended. died: nobody had told it to."""
        with self._lock:
            self._pages = [other for other in self._pages if other is not page]
            self._past = [a + b for a, b in zip(self._past, cells_of(page), strict=True)]
            self._restarts += died

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            present = [sum(column) for column in zip(*map(cells_of, self._pages), strict=True)]
            present = present or [0.0] * len(self._past)
            ever = [a + b for a, b in zip(self._past, present, strict=True)]
            workers, restarts = len(self._pages), self._restarts
        for family in self._families:
            yield _metric(family, self._at[family.name], present if family.kind == "gauge" else ever)
        about = GaugeMetricFamily(PREFIX + "build_info", "What is running; always 1.", labels=("version", "python"))
        about.add_metric((__version__, platform.python_version()), 1)
        yield about
        yield GaugeMetricFamily(PREFIX + "start_time_seconds", "When the service was started.", self._started)
        yield GaugeMetricFamily(PREFIX + "workers", "Worker processes, those being replaced included.", workers)
        yield CounterMetricFamily(PREFIX + "worker_restarts", "Workers that died or hung and were replaced.", restarts)


def _metric(family: Family, at: dict[tuple[str, ...], int], numbers: list[float]) -> Metric:
    name = PREFIX + family.name
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(name, family.help, labels=family.labels)
        for labels, first in at.items():
            *counts, total = numbers[first : first + family.width]
            if any(counts) or not family.is_left_out(labels):
                histogram.add_metric(labels, _cumulated(family.buckets, counts), total)
        return histogram
    metric: CounterMetricFamily | GaugeMetricFamily
    if family.kind == "counter":
        metric = CounterMetricFamily(name, family.help, labels=family.labels)
    else:
        metric = GaugeMetricFamily(name, family.help, labels=family.labels)
    for labels, cell in at.items():
        if numbers[cell] or not family.is_left_out(labels):
            metric.add_metric(labels, numbers[cell])
    return metric


def _cumulated(bounds: tuple[float, ...], counts: list[float]) -> list[tuple[str, float]]:
    total = 0.0
    told = []
    for bound, number in zip((*bounds, math.inf), counts, strict=True):
        total += number
        told.append(("+Inf" if bound == math.inf else repr(bound), total))
    return told


@contextmanager
def exposed(board: Board, host: str, port: int | None) -> Iterator[None]:
    """Serve the numbers meanwhile, on a thread; port None: to nobody. Raises StartupError."""
    if port is None:
        yield
        return
    registry = CollectorRegistry()
    registry.register(board)
    kind = _V6 if ":" in host else ThreadingWSGIServer
    try:
        server = make_server(host, port, make_wsgi_app(registry), kind, _Handler)
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise StartupError(f"can't serve metrics on {host}, port {port}: {why}") from None
    # Not prometheus-client's own thread, which takes half a second to end.
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _V6(ThreadingWSGIServer):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    """Says nothing in the log, and waits for nobody who says nothing."""

    timeout = 5

    def log_message(self, format: str, *args: object) -> None:
        pass
