"""The manifests for Kubernetes are valid, and consistent with each other and with the service."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from authsvc.edge.server import GRACE_S
from authsvc.settings import Settings
from tests.deploy.programs import program
from tests.stores import Secrets

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
PLAIN = sorted(path for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml")
# Kinds of the Prometheus operator, for which the tests have no schema.
ELSEWHERE = {"ServiceMonitor"}
POD = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}

Manifest = dict[str, Any]


def manifests(text: str) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(text) if document]


@pytest.fixture(scope="module", params=["base", "example"])
def rendered(request: pytest.FixtureRequest) -> list[Manifest]:
    """The documents that `kubectl apply -k` sends. `example` contains every component."""
    command = [program("kubectl"), "kustomize", str(FOLDER / request.param)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return manifests(done.stdout)


def validated(documents: list[Manifest], directory: Path) -> None:
    path = directory / "manifests.json"
    known = [document for document in documents if document["kind"] not in ELSEWHERE]
    path.write_text("\n---\n".join(json.dumps(document) for document in known))
    command = [program("kubernetes-validate"), "--strict", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_file_is_valid(tmp_path: Path) -> None:
    """Each manifest is valid by the schemas of Kubernetes, and a misspelt field is refused."""
    validated([document for path in PLAIN for document in manifests(path.read_text())], tmp_path)


def test_the_applied_documents_are_valid(rendered: list[Manifest], tmp_path: Path) -> None:
    validated(rendered, tmp_path)


def pods(documents: list[Manifest]) -> Iterator[Manifest]:
    for document in documents:
        if document["kind"] in ("Deployment", "StatefulSet"):
            yield document["spec"]["template"]


def test_pods_keep_to_the_restricted_standard(rendered: list[Manifest]) -> None:
    """A pod has an ordinary user, a read-only root, bounded memory, no capabilities and no API token."""
    for pod in pods(rendered):
        spec = pod["spec"]
        assert spec["securityContext"].items() >= POD.items()
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        for container in spec["containers"]:
            assert container["securityContext"] == CONTAINER
            assert "memory" in container["resources"]["limits"]
            assert "cpu" in container["resources"]["requests"]
            assert not container["image"].endswith(":latest")


def test_selectors_and_ports_exist(rendered: list[Manifest]) -> None:
    """Services, budgets and policies select existing pods and named ports."""
    labels = [pod["metadata"]["labels"] for pod in pods(rendered)]
    named = {port["name"] for pod in pods(rendered) for one in pod["spec"]["containers"] for port in one["ports"]}
    for document in rendered:
        spec = document.get("spec", {})
        match document["kind"]:
            case "Service":
                selector, ports = spec["selector"], [port.get("targetPort", port["name"]) for port in spec["ports"]]
            case "PodDisruptionBudget" | "Deployment" | "StatefulSet":
                selector, ports = spec["selector"]["matchLabels"], []
            case "NetworkPolicy":
                selector = spec["podSelector"]["matchLabels"]
                ports = [port["port"] for rule in spec["ingress"] for port in rule["ports"]]
            case _:
                continue
        assert any(selector.items() <= found.items() for found in labels), document["metadata"]["name"]
        assert set(ports) <= named, document["metadata"]["name"]


def container(documents: list[Manifest], kind: str) -> Manifest:
    (found,) = (document for document in documents if document["kind"] == kind)
    (only,) = found["spec"]["template"]["spec"]["containers"]
    return dict(only)


def test_the_manifests_agree_with_the_service(rendered: list[Manifest], tmp_path: Path) -> None:
    """The manifests use the service's own settings, port, grace and calls, and the secrets of make-secrets.sh."""
    found = container(rendered, "Deployment")
    names = [variable["name"].removeprefix("AUTHSVC_").removesuffix("_FILE").lower() for variable in found["env"]]
    assert set(names) <= set(Settings.model_fields)
    assert len(names) == len(set(names))
    given = {variable["name"]: variable["value"] for variable in found["env"]}
    settings = Settings.from_environment({name: value for name, value in given.items() if "_FILE" not in name})
    ports = {port["name"]: port["containerPort"] for port in found["ports"]}
    assert ports["http"] == settings.port
    assert ports.get("metrics") == settings.metrics_port
    assert {found[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")} == {"/healthz"}
    assert found["readinessProbe"]["httpGet"]["path"] == "/readyz"
    (deployment,) = (document for document in rendered if document["kind"] == "Deployment")
    waits = float(found["lifecycle"]["preStop"]["exec"]["command"][-1].partition("sleep(")[2].rstrip(")"))
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= waits + GRACE_S + 3
    made = {
        path.name for path in Secrets.made(tmp_path / "secrets", "redis://authsvc-store:6379/0").directory.iterdir()
    }
    for pod in pods(rendered):
        for volume in pod["spec"]["volumes"]:
            for item in volume.get("secret", {}).get("items", []):
                assert item["key"] in made


# A setting with an address, but no comment and no variable of the reader's.
TRUSTED = re.compile(r"^[^#\n]*AUTHSVC_TRUSTED_PROXIES(?:=|[\"']?:\s*|\n\s+value:\s*)[\"']?[0-9a-f.:/]+", re.MULTILINE)


def test_no_shipped_file_trusts_a_proxy() -> None:
    """The reader names the proxies: each machine of a trusted network can name any address as the client's."""
    for path in FOLDER.parent.rglob("*"):
        if path.is_file() and path.suffix in {"", ".yaml", ".conf", ".env", ".service", ".cfg"}:
            assert TRUSTED.search(path.read_text()) is None, path
    assert TRUSTED.search("  - name: AUTHSVC_TRUSTED_PROXIES\n    value: 10.0.0.0/8")
