"""The contract: it agrees with the application, it is complete, and it promises nothing false."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import starlette.routing
import yaml

from authsvc.api import openapi
from authsvc.api.routes import ROUTES
from authsvc.app import build
from authsvc.flows.deps import Deps
from tests.conftest import Service

ROOT = Path(__file__).parents[2]


def test_openapi_yaml_is_up_to_date() -> None:
    """The document in the repository is the one the code generates; `make openapi` writes it."""
    assert (ROOT / "openapi.yaml").read_text() == openapi.text()


async def test_other_requests_are_answered_while_the_document_is_written(service: Service) -> None:
    """The first request for the document takes half a second, in a thread."""
    openapi._text.cache_clear()
    done: list[str] = []

    async def get(path: str) -> None:
        assert (await service.http.get(path)).status_code == 200
        done.append(path)

    await asyncio.gather(get("/openapi.yaml"), get("/openapi.yaml"), get("/healthz"))
    assert done[0] == "/healthz"
    assert openapi._text.cache_info().misses == 1


def test_the_document_and_the_application_agree(deps: Deps) -> None:
    """Every route of the application is in the document with its method, and every operation is a route."""
    served = set()
    layer = build(deps)
    while not hasattr(layer, "routes"):
        layer = layer._app  # type: ignore[attr-defined]  # the layers around Starlette name what they wrap so
    for route in layer.routes:
        assert isinstance(route, starlette.routing.Route)
        methods = (route.methods or set()) - {"HEAD"}
        served |= {(method, route.path_format.replace(":path}", "}")) for method in methods}
    document = yaml.safe_load(openapi.text())
    documented = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert documented == served
    assert len(served) == sum(1 + len(row.also) for row in ROUTES)


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
    """The model of every body accepts the example."""
    paths = openapi.document()["paths"]
    for row in ROUTES:
        if row.takes is not None:
            media = paths[row.path][row.method.lower()]["requestBody"]["content"]
            (content,) = media.values()
            row.takes.model_validate(content["example"])


def changes() -> list[dict[str, Any]]:
    """The schema of each PATCH body, as the document resolves it."""
    document = openapi.document()
    schemas = document["components"]["schemas"]
    bodies = [
        item["patch"]["requestBody"]
        for path, item in document["paths"].items()
        if "patch" in item and path != "/verify"
    ]
    references = [body["content"]["application/json"]["schema"]["$ref"] for body in bodies]
    return [schemas[reference.rpartition("/")[2]] for reference in references]


def test_a_change_has_no_defaults() -> None:
    """In a PATCH body, a field that is left out is unchanged: a default would make generated clients send it."""
    assert len(changes()) == 2
    for schema in changes():
        assert "required" not in schema
        assert [name for name, field in schema["properties"].items() if "default" in field] == []


def test_an_undocumented_route_is_in_no_document() -> None:
    """A row that is not documented leaves neither a path nor a schema in the document."""
    rows = [replace(row, documented=row.path != "/admin/audit") for row in ROUTES]
    document = openapi.document(rows)
    assert "/admin/audit" not in document["paths"]
    assert "/admin/users" in document["paths"]
    assert "AuditTrail" not in document["components"]["schemas"]
