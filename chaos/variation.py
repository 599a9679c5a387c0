"""The variations of the controls: each takes one guarantee out of the service.

A variation patches a copy of the package in a temporary directory, or it changes a setting, an option of the store or
the version of the driver. The package itself stays as it is.
"""

import shutil
import subprocess
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from chaos.processes import PYTHON, ExperimentError

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "chaos" / ".cache"


@dataclass(frozen=True)
class Patch:
    """One change of one file of the package. `old` must be in the file exactly once."""

    file: str
    old: str
    new: str

    def apply(self, package: Path) -> None:
        file = package / self.file
        text = file.read_text()
        if text.count(self.old) != 1:
            raise ExperimentError(f"authsvc/{self.file} holds {text.count(self.old)} times what a control replaces")
        file.write_text(text.replace(self.old, self.new))


@dataclass(frozen=True)
class Variation:
    """How a run differs from the plain one. skip: the experiment leaves out the step that is under test.

    redis_py: the version of the driver, which is installed into its own virtual environment.
    """

    patches: Sequence[Patch] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    store: Sequence[str] = ()
    redis_py: str | None = None
    skip: bool = False

    def package(self, directory: Path) -> Path | None:
        """A folder for PYTHONPATH with the patched package. None if there is no patch."""
        if not self.patches:
            return None
        copied = directory / "changed"
        shutil.copytree(ROOT / "authsvc", copied / "authsvc", ignore=shutil.ignore_patterns("__pycache__"))
        for patch in self.patches:
            patch.apply(copied / "authsvc")
        return copied

    def python(self) -> Path:
        """The interpreter that runs the service."""
        return PYTHON if self.redis_py is None else _environment(self.redis_py)


def _environment(redis_py: str) -> Path:
    """A virtual environment with our packages and this version of the driver. It is made once."""
    wanted = f"redis=={redis_py}"
    target = CACHE / f"redis-{redis_py}-{sha256(str(PYTHON).encode()).hexdigest()[:8]}"
    python = target / "bin" / "python"
    if not (target / "installed").exists():
        print(f"installing {wanted} into chaos/.cache …", flush=True)
        venv.create(target, with_pip=False, clear=True)
        packages = next((target / "lib").glob("python3*")) / "site-packages"
        done = subprocess.run(
            [str(PYTHON), "-m", "pip", "install", "--quiet", "--target", str(packages), "--no-deps", wanted],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ExperimentError(f"{wanted} can't be installed: {done.stderr[-500:]}")
        ours = next(path for path in (PYTHON.parent.parent / "lib").glob("python3*/site-packages"))
        (packages / "ours.pth").write_text(f"{ours}\n{ROOT}\n")
        (target / "installed").touch()
    return python
