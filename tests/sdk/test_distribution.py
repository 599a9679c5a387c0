"""The SDK as a distribution: what an installation brings, how large its core is, and its former name."""

import ast
import importlib
import io
import json
import re
import sys
import tokenize
import tomllib
from pathlib import Path

import authsvc_sdk
import pytest

import authsvc
from tests.test_layout import FRAMEWORKS, SDK
from tools.release import Environment, build, examine, run
from tools.smoke import Failed
from tools.versions import versions

ROOT = Path(__file__).parents[2]
DISTRIBUTION = ROOT / "sdk" / "python"
# Modules that only serve frameworks: they find the token of a request, refuse requests, and check what frameworks need.
AROUND = {*FRAMEWORKS, "asgi", "admission", "bearer", "requirements"}


def lines_of_code(path: Path) -> int:
    """The lines with code: no empty lines, comments and docstrings."""
    text = path.read_text()
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in layout:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def test_the_core_is_small() -> None:
    """The core of the SDK, which is all but the parts for frameworks, has at most 1,000 lines of code."""
    assert sum(lines_of_code(path) for path in SDK if path.stem not in AROUND) <= 1000


def test_the_sdk_needs_httpx_only() -> None:
    """The distribution requires httpx, and nothing else."""
    project = tomllib.loads((DISTRIBUTION / "pyproject.toml").read_text())["project"]
    assert [line.partition(">")[0] for line in project["dependencies"]] == ["httpx"]
    assert "optional-dependencies" not in project


def test_the_version_is_that_of_the_service() -> None:
    """The service and all SDKs have one version: `python -m tools.versions` copies it."""
    assert versions()["sdk/python/authsvc_sdk/__init__.py"] == authsvc_sdk.__version__
    assert set(versions().values()) == {authsvc.__version__}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build(tmp_path_factory.mktemp("dist"), "authsvc_sdk")
    except Failed as error:
        if re.search(r"No matching distribution|Could not find a version|[Cc]onnection", str(error)):
            pytest.skip("no package index within reach")
        raise


@pytest.mark.slow
def test_the_wheel_holds_only_the_package(wheel: Path) -> None:
    """The wheel, which is made from the sdist, holds the package, its types and its licence, and nothing else."""
    examine(wheel, "authsvc_sdk")


@pytest.mark.slow
def test_an_installation_is_small(wheel: Path, tmp_path: Path) -> None:
    """In an empty environment the SDK works and brings at most 10 packages, itself included."""
    environment = Environment.made(sys.executable, tmp_path / "environment")
    before = set(packages_of(environment))
    environment.install(str(wheel))
    brought = set(packages_of(environment)) - before
    assert {"authsvc-sdk", "httpx"} <= brought
    assert len(brought) <= 10
    ask = "authsvc_sdk.Introspector('http://127.0.0.1:9', 'a', 'b', cache=True).introspect('tok_x')"
    program = f"import authsvc_sdk; print({ask} is authsvc_sdk.INACTIVE)"
    assert run(environment.python, "-c", program) == "True\n"


def packages_of(environment: Environment) -> list[str]:
    listed = json.loads(run(environment.python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"))
    return [package["name"] for package in listed]


def test_the_former_name() -> None:
    """`authsvc.sdk` has the same names for one release, and says that it is deprecated."""
    for name in [name for name in sys.modules if name.startswith("authsvc.sdk")]:
        del sys.modules[name]
    with pytest.warns(DeprecationWarning, match="import authsvc_sdk"):
        former = importlib.import_module("authsvc.sdk")
    for name in authsvc_sdk.__all__:
        assert getattr(former, name) is getattr(authsvc_sdk, name)
    for module, name in (("fastapi", "BearerAuth"), ("starlette", "require")):
        now = importlib.import_module(f"authsvc_sdk.{module}")
        assert getattr(importlib.import_module(f"authsvc.sdk.{module}"), name) is getattr(now, name)
