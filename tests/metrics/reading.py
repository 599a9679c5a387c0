"""Reading the metrics with the parser of Prometheus."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from authsvc.api.routes import CALLS
from authsvc.flows.deps import Deps
from authsvc.metrics.registry import WorkerRegistry

Key = tuple[object, ...]


class Reading:
    """One scrape. `told[name]` or `told[name, (label, value), …]`: the sum of all series with these labels."""

    def __init__(self, text: str) -> None:
        self.samples = [
            (sample.name, frozenset(sample.labels.items()), sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def __getitem__(self, key: str | Key) -> float:
        name, *labels = (key,) if isinstance(key, str) else key
        found = [value for other, held, value in self.samples if other == name and held >= set(labels)]
        if not found:
            raise KeyError(key)
        return sum(found)

    def names(self) -> set[str]:
        return {name for name, _, _ in self.samples}

    def labels(self) -> set[tuple[str, str]]:
        return {pair for _, held, _ in self.samples for pair in held}


def scrape(deps: Deps) -> str:
    """The page that Prometheus would get from a service with one worker, made of these parts."""
    workers = WorkerRegistry(CALLS)
    workers._arrays.append(deps.metrics._values)
    registry = CollectorRegistry()
    registry.register(workers)
    return generate_latest(registry).decode()
