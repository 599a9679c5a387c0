"""Runs a real Prometheus with the shipped configuration on a real authsvc, for queries and alerts."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

DEPLOY = Path(__file__).parent.parent / "deploy"
DASHBOARD = DEPLOY / "grafana" / "authsvc.json"
# Short intervals, because the shipped ones need a minute. Like Grafana, the rates use four times the scrape interval.
SCRAPE_S = 1
RATE_S = 4 * SCRAPE_S


@dataclass(frozen=True)
class Panel:
    """A graph of the dashboard: its queries, each with the name of its lines."""

    title: str
    unit: str
    targets: tuple[tuple[str, str], ...]


def panels() -> list[Panel]:
    """All graphs of the shipped dashboard, with values in place of Grafana's variables."""
    found = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        if panel["type"] == "row":
            continue
        targets = tuple(
            (
                target["expr"].replace("$__rate_interval", f"{RATE_S}s").replace("$instance", ".*"),
                target["legendFormat"],
            )
            for target in panel["targets"]
        )
        found.append(Panel(panel["title"], panel["fieldConfig"]["defaults"]["unit"], targets))
    return found


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        return self._ask("query", query=expression)["result"]  # type: ignore[no-any-return]  # it is JSON

    def range(self, expression: str, begin: float, end: float) -> list[dict[str, Any]]:
        """The lines of a graph, with one value for each scrape."""
        asked = self._ask("query_range", query=expression, start=begin, end=end, step=SCRAPE_S)
        return asked["result"]  # type: ignore[no-any-return]  # as above

    def firing(self) -> set[str]:
        alerts = self._ask("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def _ask(self, what: str, **parameters: Any) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/api/v1/{what}", params=parameters, timeout=10).json()
        if answer["status"] != "success":
            raise ValueError(f"{answer['error']}: {parameters}")
        return answer["data"]  # type: ignore[no-any-return]  # as above


@contextmanager
def running(directory: Path, port: int, target: str) -> Iterator[Prometheus]:
    """Prometheus with the shipped files and another address and interval. Needs the program `prometheus`."""
    program = shutil.which("prometheus")
    if program is None:
        raise FileNotFoundError("prometheus is not installed: Debian's package has that name")
    shipped = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    (directory / "prometheus.yml").write_text(shipped.replace("127.0.0.1:9464", target).replace("15s", f"{SCRAPE_S}s"))
    shutil.copy(DEPLOY / "prometheus" / "alerts.yml", directory)
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - the program is Prometheus
            [
                program, f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    prometheus = Prometheus(f"http://127.0.0.1:{port}")
    try:
        give_up_at = time.monotonic() + 30
        while not prometheus.ready():
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError((directory / "prometheus.log").read_text()[-2000:])
            time.sleep(0.1)
        yield prometheus
    finally:
        process.terminate()
        process.wait(30)
