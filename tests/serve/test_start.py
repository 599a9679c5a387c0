"""The parts of a start."""

from contextlib import nullcontext

from authsvc.metrics.registry import WorkerRegistry
from authsvc.serve.start import _metrics
from authsvc.settings import Settings


def test_no_port_for_metrics() -> None:
    """With 0 there is no port, as for the console."""
    assert isinstance(_metrics(Settings(metrics_port=0), WorkerRegistry(())), nullcontext)
