"""A test whose time is over its bound is run again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = """
import itertools
import pytest
from tests.processes import in_time

runs = {name: itertools.count() for name in ("twice", "thrice", "wrong")}


@pytest.mark.parametrize(("name", "late"), [("twice", 2), ("thrice", 3)])
def test_late(name, late):
    in_time(2 if next(runs[name]) < late else 0, 1)


def test_wrong():
    assert next(runs["wrong"])
"""


@pytest.mark.slow
def test_who_is_late_is_run_again_and_nobody_else(tmp_path: Path) -> None:
    """Late twice passes, late three times fails, and what is wrong fails at once."""
    file = tmp_path / "test_late.py"
    file.write_text(TESTS)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", str(file)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 failed, 1 passed, 4 rerun" in ran.stdout, ran.stdout + ran.stderr
