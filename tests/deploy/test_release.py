"""The wheel has the right contents and works in an empty environment. `make release` tests that for each Python."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import authsvc
from tools import release
from tools.smoke import Failed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return release.build(tmp_path_factory.mktemp("dist"))
    except Failed as error:
        if re.search(r"No matching distribution|Could not find a version|[Cc]onnection", str(error)):
            pytest.skip("no package index within reach")
        raise


@pytest.mark.slow
def test_the_wheel_holds_only_the_package(wheel: Path) -> None:
    """The wheel holds its licences and py.typed, and its version is that of authsvc/__init__.py."""
    release.examine(wheel)
    assert wheel.name.startswith(f"authsvc-{authsvc.__version__}-")
    (metadata,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".dist-info/METADATA"))
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    assert "License-Expression: MIT" in text
    assert {"embedded", "sdk"} <= set(re.findall(r"^Provides-Extra: (\w+)$", text, re.MULTILINE))


@pytest.mark.slow
def test_a_wheel_with_other_contents_is_refused(wheel: Path, tmp_path: Path) -> None:
    """The check refuses a wheel with wrong contents."""
    other = tmp_path / wheel.name
    other.write_bytes(wheel.read_bytes())
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr("tests/__init__.py", "")
    with pytest.raises(Failed, match="tests/__init__"):
        release.examine(other)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Without extras `--help` works and `serve` says what to install; with `embedded` a token is issued and revoked."""
    environment = release.Environment.made(sys.executable, tmp_path / "environment")
    environment.try_it(wheel)
    installed = subprocess.run(
        [environment.python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    ).stdout.lower()
    for name in ("pytest", "httpx", "django", "fastapi"):
        assert f"\n{name}==" not in f"\n{installed}", f"{name} is not for who runs the service"


def test_an_unanswered_audit_is_no_all_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the service of advisories does not answer, the audit reports no all-clear."""
    (tmp_path / "lib" / "python3" / "site-packages").mkdir(parents=True)
    holes = [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1"}]}, {"name": "b", "skip_reason": "?"}]
    done = subprocess.CompletedProcess[str]([], 1, json.dumps({"dependencies": holes}), "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert release.audit(release.Environment(tmp_path)) == (["a 1: CVE-1"], 1)
