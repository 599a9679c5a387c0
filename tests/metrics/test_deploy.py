"""The files for Prometheus and Grafana agree with each other: rules, their tests, their runbook, the dashboard."""

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from authsvc.api.routes import CALLS
from authsvc.metrics.registry import WorkerRegistry
from tests.selection import one_in, slow
from tools.prometheus import DASHBOARD, DEPLOY, panels

RULES = DEPLOY / "prometheus" / "alerts.yml"
DOCS_URL = "https://docs.example.org/authsvc"  # stands for the address at which a reader serves the site
RUNBOOK = Path(__file__).parent.parent.parent / "docs" / "alerts.md"


@cache
def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


@cache
def names() -> set[str]:
    """Everything that a rule may name: the samples of every metric, and the records of the rules."""
    found = {rule["record"] for rule in rules() if "record" in rule}
    for metric in WorkerRegistry(CALLS).collect():
        suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}[metric.type]
        found |= {metric.name + suffix for suffix in suffixes}
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yml"),
        ("check", "config", "prometheus.yml"),
        slow(("test", "rules", "alerts_test.yml")),
    ],
    ids=" ".join,
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    """Rules and configuration are valid, and every alert does what its test says."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: it comes with Debian's package prometheus")
    done = subprocess.run(
        [promtool, *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    """Each alert has a test in which it fires."""
    tests = yaml.safe_load((DEPLOY / "prometheus" / "alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == {alert["alert"] for alert in alerts()}


def test_every_alert_can_be_looked_up() -> None:
    """Each alert has a summary, a description, a severity and a section in the runbook."""
    headings = re.findall(r"^### (Authsvc\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(alert["alert"] for alert in alerts())
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning")
        annotations = alert["annotations"]
        assert set(annotations) == {"summary", "description", "runbook_url"}
        assert annotations["runbook_url"] == f"{DOCS_URL}/alerts.html#{alert['alert'].lower()}"
        section = RUNBOOK.read_text().partition(f"### {alert['alert']}\n")[2].partition("#")[0]
        assert section.startswith("Critical.") == (alert["labels"]["severity"] == "critical"), alert["alert"]


def test_the_links_lead_to_the_reader_s_site(tmp_path: Path) -> None:
    """The command of the runbook leads each link of the rules to the site in AUTHSVC_DOCS_URL."""
    found = re.search(r"^sed .*$", RUNBOOK.read_text(), re.MULTILINE)
    assert found
    command = found[0].replace("/etc/prometheus/alerts.yml", str(tmp_path / "alerts.yml"))
    environment = {"PATH": os.environ["PATH"], "AUTHSVC_DOCS_URL": "https://wiki.example.net/auth"}
    subprocess.run(["sh", "-ec", command], cwd=DEPLOY.parent, env=environment, check=True)
    urls = re.findall(r"runbook_url: (\S+)", (tmp_path / "alerts.yml").read_text())
    assert len(urls) == len(alerts())
    assert all(url.startswith("https://wiki.example.net/auth/alerts.html#authsvc") for url in urls)


@pytest.mark.parametrize("rule", one_in(4, rules()), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_name_what_there_is(rule: dict[str, Any]) -> None:
    """Every metric that a rule names exists."""
    named = set(re.findall(r"(?:job:)?\bauthsvc_\w+(?::\w+)?", rule["expr"]))
    assert named <= names()
    assert named or "up{" in rule["expr"]


def test_the_dashboard_names_what_there_is() -> None:
    """Every graph has expressions, and their metrics and labels exist."""
    dashboard = json.loads(DASHBOARD.read_text())
    assert dashboard["title"] == "authsvc"
    known = {f"{metric.name}" for metric in WorkerRegistry(CALLS).collect()}
    shown = set()
    for panel in panels():
        assert panel.targets, panel.title
        for expression, legend in panel.targets:
            named = set(re.findall(r"(?:job:)?\bauthsvc_\w+(?::\w+)?", expression))
            assert named, expression
            assert named <= names(), expression
            assert "$" not in expression
            for label in re.findall(r"{{(\w+)}}", legend):
                assert label in expression
            shown |= {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in named}
    # Three metrics are in no graph: two say nothing over time, and `store_breakers_open` has a graph.
    unseen = known - shown
    assert unseen == {"authsvc_build_info", "authsvc_start_time_seconds", "authsvc_store_breaker_opened"}


def test_panels_do_not_overlap() -> None:
    """Every panel has a place and an id of its own."""
    places: set[tuple[int, int]] = set()
    listed = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in listed}) == len(listed)
    for panel in listed:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not cells & places, panel["title"]
        places |= cells
