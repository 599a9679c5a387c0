"""The controls of the chaos suite still fit the package that they break."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.experiments import ALL
from chaos.lab import Control, Experiment
from chaos.processes import ExperimentError
from chaos.variation import Patch, Variation

# The names that the package may import from redis-py 4.5.3. The tests do not install that version.
OLD_DRIVER_HAS = {
    "redis.asyncio": {"BlockingConnectionPool", "Redis"},
    "redis.asyncio.connection": {"Connection", "SSLConnection", "UnixDomainSocketConnection", "parse_url"},
    "redis.asyncio.retry": {"Retry"},
    "redis.asyncio.sentinel": {
        "MasterNotFoundError",
        "Sentinel",
        "SentinelConnectionPool",
        "SentinelManagedConnection",
        "SentinelManagedSSLConnection",
    },
    "redis.backoff": {"NoBackoff"},
    "redis.crc": {"key_slot"},
    "redis.exceptions": {
        "AskError",
        "AuthenticationError",
        "BusyLoadingError",
        "ClusterDownError",
        "ConnectionError",
        "MasterDownError",
        "MovedError",
        "NoPermissionError",
        "ReadOnlyError",
        "RedisError",
        "InvalidResponse",
        "ResponseError",
        "TimeoutError",
        "TryAgainError",
    },
    "redis.utils": {"str_if_bytes"},
}
CONTROLS = [(experiment, control) for experiment in ALL for control in experiment.controls]


def test_every_experiment_has_a_control() -> None:
    """Each experiment has a control, because an experiment that cannot fail shows nothing."""
    assert not [experiment.name for experiment in ALL if not experiment.controls]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "control"),
    [pytest.param(e, c, id=f"{e.name}: {c.what}") for e, c in CONTROLS if c.variation.patches],
)
def test_a_control_fits_the_package(experiment: Experiment, control: Control, tmp_path: Path) -> None:
    """Each patch finds its text exactly once. The patched file compiles and uses only defined names."""
    package = control.variation.package(tmp_path)
    assert package is not None
    changed = sorted({package / "authsvc" / patch.file for patch in control.variation.patches})
    for file in changed:
        compile(file.read_text(), file, "exec")
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", *map(str, changed)]
    checked = subprocess.run(ruff, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, f"{experiment.name}: {checked.stdout}{checked.stderr}"


@pytest.mark.slow
def test_the_old_driver_has_what_its_control_imports(tmp_path: Path) -> None:
    """The patched package imports from redis-py only names of its version 4.5.3."""
    (variation,) = (control.variation for _, control in CONTROLS if control.variation.redis_py == "4.5.3")
    package = variation.package(tmp_path)
    assert package is not None
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "redis":
                assert {alias.name for alias in node.names} <= OLD_DRIVER_HAS[str(node.module)], file.name


@pytest.mark.parametrize("text", ["a text that is nowhere", "import"], ids=["missing", "ambiguous"])
def test_a_control_that_does_not_fit_is_refused(text: str, tmp_path: Path) -> None:
    """A patch whose text is missing or ambiguous is an error. Else the control would break nothing."""
    with pytest.raises(ExperimentError, match="what a control replaces"):
        Variation([Patch("driver/node.py", text, "")]).package(tmp_path)
