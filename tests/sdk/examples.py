"""The examples of all SDKs: how each of them is started, and why it cannot be started here.

sdk/vectors/README.md has the contract of these programs.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

SDKS = Path(__file__).parents[2] / "sdk"
GO = shutil.which("go") or "/usr/local/go/bin/go"


def python() -> list[str]:
    return [sys.executable, str(SDKS / "python" / "example" / "server.py")]


def python_threads() -> list[str]:
    return [sys.executable, str(SDKS / "python" / "example" / "server_threads.py")]


def node() -> list[str]:
    program = SDKS / "node" / "example" / "server.mjs"
    interpreter = shutil.which("node")
    if interpreter is None:
        pytest.skip("Node is missing")
    if not program.exists() or not (SDKS / "node" / "dist").exists():
        pytest.skip("the SDK for Node is not built: make sdk-node")
    return [interpreter, str(program)]


@cache
def go() -> list[str]:
    directory = SDKS / "go" / "example"
    if not Path(GO).exists():
        pytest.skip("Go is missing")
    if not directory.exists():
        pytest.skip("the SDK for Go is not in this checkout")
    program = Path(mkdtemp(prefix="authsvc-example-")) / "server"
    subprocess.run([GO, "build", "-o", str(program), "."], cwd=directory, check=True)
    return [str(program)]


# The command of each example. The name before a space is the column of the table in docs/sdk.md.
EXAMPLES: dict[str, Callable[[], list[str]]] = {
    "Python": python,
    "Python threads": python_threads,
    "Node": node,
    "Go": go,
}
# Programs with a fault, for the controls.
BROKEN = {how: [sys.executable, "-m", "tests.sdk.broken", how] for how in ("unbounded", "by-arrival")}
