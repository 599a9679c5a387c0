"""What a negative control does differently: the same experiment, with one guarantee taken out.

Nothing of this is in the product: a copy of the package is changed in a temporary directory, or a setting, an option of
the store or the version of the driver is another one.
"""

import shutil
import subprocess
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from chaos.processes import PYTHON, FaultsError

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "chaos" / ".cache"


@dataclass(frozen=True)
class Patch:
    """One change of one file of the package. `old` has to be there exactly once, or the control no longer fits."""

    file: str
    old: str
    new: str

    def apply(self, package: Path) -> None:
        file = package / self.file
        text = file.read_text()
        if text.count(self.old) != 1:
            raise FaultsError(f"authsvc/{self.file} holds {text.count(self.old)} times what a control replaces")
        file.write_text(text.replace(self.old, self.new))


@dataclass(frozen=True)
class Variation:
    """How a run differs from the plain one. skip: the experiment leaves out the step that is under test.

    redis_py: another version of the driver, installed into a virtual environment of its own.
    """

    patches: Sequence[Patch] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    store: Sequence[str] = ()
    redis_py: str | None = None
    skip: bool = False

    def package(self, directory: Path) -> Path | None:
        """A folder for PYTHONPATH with the changed package; None when nothing is changed."""
        if not self.patches:
            return None
        copied = directory / "changed"
        shutil.copytree(ROOT / "authsvc", copied / "authsvc", ignore=shutil.ignore_patterns("__pycache__"))
        for patch in self.patches:
            patch.apply(copied / "authsvc")
        return copied

    def python(self) -> Path:
        """The interpreter to run the service with."""
        return PYTHON if self.redis_py is None else _environment(self.redis_py)


def _environment(redis_py: str) -> Path:
    """A virtual environment with our packages but for this version of the driver; made once."""
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
            raise FaultsError(f"{wanted} can't be installed: {done.stderr[-500:]}")
        ours = next(path for path in (PYTHON.parent.parent / "lib").glob("python3*/site-packages"))
        (packages / "ours.pth").write_text(f"{ours}\n{ROOT}\n")
        (target / "installed").touch()
    return python
