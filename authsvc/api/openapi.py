"""The contract, made from the table of routes, the models and the table of errors."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from threading import Lock
from typing import Any

import yaml
from pydantic import BaseModel, RootModel
from pydantic.json_schema import models_json_schema

from authsvc import __version__
from authsvc import errors as e
from authsvc.api import components
from authsvc.api.parsing import FORM, JSON
from authsvc.api.route import Media, Route
from authsvc.api.routes import ROUTES
from authsvc.api.schemas.answers import Problem
from authsvc.api.schemas.fields import Form
from authsvc.api.statuses import STATUSES

# The server answers these before the application sees the request.
_OF_EVERY_CALL = (e.HeadTooLarge, e.Busy)
_OF_A_BODY = (e.InvalidRequest, e.TooLarge, e.UnsupportedMediaType)


_one_writer = Lock()


def text() -> str:
    """The document as YAML. The first call takes half a second, and calls meanwhile wait for it."""
    with _one_writer:
        return _text()


@cache
def _text() -> str:
    dumped: str = yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return dumped


# libyaml writes the document in a sixth of the time, but PyYAML may be built without libyaml.
_SafeDumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_SafeDumper):  # type: ignore[misc, valid-type]  # either class
    """YAML for people: without references, and long texts as they were written."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _string)


def document(routes: Iterable[Route] = ROUTES) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    documented = [route for route in routes if route.documented]
    failures: dict[str, Any] = {}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "authsvc",
            "version": __version__,
            "summary": "Opaque tokens whose state lives in Redis or Valkey.",
            "description": components.ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": description} for name, description in components.TAGS.items()],
        "paths": _paths(documented, failures),
        "components": {
            "schemas": _schemas(documented),
            "responses": dict(sorted(failures.items())),
            "headers": components.HEADERS,
            "securitySchemes": components.SCHEMES,
        },
    }


def _paths(routes: list[Route], failures: dict[str, Any]) -> dict[str, Any]:
    """The operations by path and method. Their answers to errors are collected in `failures`."""
    paths: dict[str, Any] = {}
    for route in routes:
        operation = _operation(route, failures)
        operations = paths.setdefault(route.path, {})
        operations[route.method.lower()] = operation
        for method in route.also:
            operations[method.lower()] = operation | {"operationId": f"{route.name}_{method.lower()}"}
    return paths


def _schemas(routes: list[Route]) -> dict[str, Any]:
    bodies = [body for route in routes for body in (route.takes, route.gives)]
    models = {body for body in bodies if isinstance(body, type)} | {Problem}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(m, "validation") for m in ordered], ref_template="#/components/schemas/{model}")
    definitions: dict[str, Any] = schemas["$defs"]
    return definitions


def _operation(route: Route, failures: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": route.name, "summary": route.summary, "tags": [route.tag]}
    if route.about:
        operation["description"] = route.about
    operation["security"] = [components.REQUIREMENTS[scheme] for scheme in route.access.schemes]
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if route.takes:
        media_type = FORM if issubclass(route.takes, Form) else JSON
        content = {media_type: {**_schema(route.takes), "example": _example(route.takes)}}
        operation["requestBody"] = {"required": not route.optional_body, "content": content}
    operation["responses"] = _responses(route, failures)
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, **components.PATH_PARAMETERS[name]}
        for name in re.findall(r"\{(\w+)", route.path)
    ]
    if route.query is None:
        return in_path
    properties = route.query.model_json_schema()["properties"]
    return in_path + [
        {
            "name": name,
            "in": "query",
            "description": schema.get("description", schema["title"].lower()),
            "schema": _without_null(schema),
        }
        for name, schema in properties.items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query can leave a parameter out and can't say null."""
    kinds: list[dict[str, Any]] = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    shared: dict[str, Any] = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return shared | kinds[0]


def _example(model: type[BaseModel]) -> Any:
    """A request made of the fields' own examples."""
    if issubclass(model, RootModel):
        return (model.model_fields["root"].examples or [None])[0]
    fields = model.model_fields.items()
    return {name: field.examples[0] for name, field in fields if field.examples}


def _responses(route: Route, failures: dict[str, Any]) -> dict[str, Any]:
    responses = {str(route.status): _success(route)}
    if cookie := route.sets_cookie:
        bare = {"description": "done, in cookie mode", "headers": _headers(route.headers)}
        headers = responses.setdefault(str(cookie.status), bare)["headers"]
        headers["Set-Cookie"] = {"description": cookie.about, "schema": {"type": "string"}}
    by_status: dict[int, list[type[e.AuthError]]] = {}
    for error in sorted(_errors(route), key=lambda error: error.__name__):
        by_status.setdefault(STATUSES[error][0], []).append(error)
    for status, errors in sorted(by_status.items()):
        name = "Or".join(error.__name__ for error in errors)
        failures[name] = _failure(route.headers, status, errors)
        responses[str(status)] = {"$ref": f"#/components/responses/{name}"}
    failures["ServerError"] = _problem(
        route.headers, "`server_error`: a fault of this service; its log has the details", ["server_error"], 500
    )
    responses["500"] = {"$ref": "#/components/responses/ServerError"}
    return responses


def _success(route: Route) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "done", "headers": _headers(route.headers)}
    for name, about in route.answer_headers.items():
        success["headers"][name] = {"description": about, "required": True, "schema": {"type": "string"}}
    if isinstance(route.gives, Media):
        success["content"] = {route.gives.type: {"schema": route.gives.schema}}
    elif route.gives:
        success["content"] = {JSON: _schema(route.gives)}
    return success


def _failure(policy: Mapping[str, str], status: int, errors: list[type[e.AuthError]]) -> dict[str, Any]:
    lines = [f"- `{STATUSES[error][1]}`: {_first_sentence(error)}" for error in errors]
    return _problem(policy, "\n".join(lines), sorted({STATUSES[error][1] for error in errors}), status)


def _problem(policy: Mapping[str, str], description: str, codes: list[str], status: int) -> dict[str, Any]:
    schema = {"allOf": [_schema(Problem)["schema"], {"properties": {"error": {"enum": codes}}}]}
    headers = _headers(policy, components.HEADER_OF_STATUS.get(status, {}))
    return {"description": description, "headers": headers, "content": {JSON: {"schema": schema}}}


def _headers(policy: Mapping[str, str], more: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The header fields of an answer that the contract promises, by reference."""
    promised = {"X-Request-ID": "RequestId"}
    if policy.get("Cache-Control") == "no-store":
        promised["Cache-Control"] = "NoStore"
    promised |= more or {}
    return {name: {"$ref": f"#/components/headers/{component}"} for name, component in promised.items()}


def _first_sentence(error: type[e.AuthError]) -> str:
    return (error.__doc__ or "").split("\n")[0]


def _errors(route: Route) -> set[type[e.AuthError]]:
    found = {*route.errors, *route.access.errors, *_OF_EVERY_CALL}
    if route.takes:
        found.update(_OF_A_BODY)
    if route.access.errors or route.takes:  # the store says who is calling, or takes what is written
        found.add(e.StoreUnavailable)
    return found


def _schema(model: type[BaseModel]) -> dict[str, dict[str, str]]:
    return {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
