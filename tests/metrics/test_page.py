"""docs/metrics.md lists exactly the metrics that exist, with labels and meaning."""

import re
from pathlib import Path

from authsvc.api.routes import CALLS
from authsvc.metrics.families import OTHER, families
from authsvc.metrics.registry import WorkerRegistry

PAGE = Path(__file__).parent.parent.parent / "docs" / "metrics.md"
SUFFIX = {"counter": "_total", "gauge": "", "histogram": ""}


def rows() -> list[str]:
    """The rows of the table, made from the registered metrics."""
    values = {
        f"authsvc_{family.name}": {
            label: list(dict.fromkeys(series[at] for series in family.series if series[at] != OTHER))
            for at, label in enumerate(family.labels)
        }
        for family in families(CALLS)
    }
    made = []
    for metric in WorkerRegistry(CALLS).collect():
        labels = []
        for label, known in values.get(
            metric.name, {"version": [], "python": []} if "info" in metric.name else {}
        ).items():
            listed = known if label not in ("method", "route") else []
            labels.append(f"`{label}`" + (f": {', '.join(listed)}" if listed else ""))
        name = metric.name + SUFFIX[metric.type]
        made.append(f"| `{name}` | {metric.type} | {'; '.join(labels)} | {metric.documentation} |")
    return made


def test_the_page_is_what_is_registered() -> None:
    """The table has one row for each metric: kind, labels with their values, help text."""
    written = [line for line in PAGE.read_text().splitlines() if re.match(r"\| `authsvc_", line)]
    assert written == rows()
