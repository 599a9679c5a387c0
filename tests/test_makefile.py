"""`make run` installs little, and the targets of development install the rest, in any order."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A program in the place of Python, and of all programs of the virtual environment. It notes what it is told to do.
NOTED = """#!/bin/sh
case "$*" in
    *venv.main*) mkdir -p .venv/bin; for name in pip authsvc ruff mypy python; do cp "$0" .venv/bin/$name; done ;;
    *"install"*) test ! -e fail || exit 1 ;;
esac
echo "$(basename "$0") $*" >> noted
"""


class Make:
    """The Makefile in a folder of its own, with programs that only take notes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.copy(ROOT / "Makefile", folder)
        (folder / "sdk" / "python").mkdir(parents=True)
        for project in (folder, folder / "sdk" / "python"):
            (project / "pyproject.toml").touch()
        self._python = folder / "python3"
        self._python.write_text(NOTED)
        self._python.chmod(0o755)

    def __call__(self, target: str) -> list[str]:
        """Returns the installations of this run: the extras that were asked for."""
        noted = self._folder / "noted"
        noted.unlink(missing_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        subprocess.run(
            ["make", target, f"PYTHON={self._python}"],
            cwd=self._folder,
            env=environment,
            capture_output=True,
            check=False,
        )
        return [line.partition("[")[2].rstrip("]") for line in noted.read_text().splitlines() if "install " in line]

    def fail_to_install(self, fails: bool) -> None:
        (self._folder / "fail").touch() if fails else (self._folder / "fail").unlink()

    def break_pip(self) -> None:
        (self._folder / ".venv/bin/pip").unlink()


@pytest.fixture
def make(tmp_path: Path) -> Make:
    if shutil.which("make") is None:
        pytest.skip("no make here")
    return Make(tmp_path)


def test_run_installs_little_and_once(make: Make) -> None:
    """`make run` brings the service and the embedded store, the first time. `make check` brings the rest."""
    assert make("run") == ["embedded"]
    assert make("run") == []
    assert make("check") == ["dev"]
    assert make("check") == []
    assert make("run") == []


def test_run_after_development_installs_nothing(make: Make) -> None:
    """What development takes includes what the service takes."""
    assert make(".venv/installed") == ["dev"]
    assert make("run") == []


def test_an_installation_that_failed_is_completed(make: Make) -> None:
    """The next run installs again. It makes the virtual environment anew if its pip does not work."""
    make.fail_to_install(True)
    assert make("run") == []
    make.fail_to_install(False)
    assert make("run") == ["embedded"]
    make.break_pip()
    assert make("check") == ["dev"]
