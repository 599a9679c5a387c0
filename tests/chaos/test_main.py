"""`python -m chaos` and `python -m bench` as processes: what happens when somebody ends them."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.install import missing_tools
from tests.processes import alive, descendants, until

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    pytest.param(
        ["chaos", "--only", "baseline"],
        id="chaos",
        marks=pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx"),
    ),
    pytest.param(
        ["bench", "--rows", "2", "--quick"],
        id="bench",
        marks=pytest.mark.skipif(bool(missing_tools()), reason="needs wrk, node and nginx"),
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_sigterm_ends_all_that_was_started(command: list[str], tmp_path: Path) -> None:
    """SIGTERM ends the stores, the services and the load generators together with the process that started them."""
    with (tmp_path / "log").open("wb") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env={"TMPDIR": str(tmp_path), "PATH": os.environ["PATH"]},
        )
    try:
        until(lambda: len(descendants(started.pid)) >= 2, 60)
        servers = descendants(started.pid)
        started.send_signal(signal.SIGTERM)
        assert started.wait(60) == 128 + signal.SIGTERM
        until(lambda: not any(alive(pid) for pid in servers))
    finally:
        started.kill()
        started.wait()
