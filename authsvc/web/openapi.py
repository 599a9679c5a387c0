"""The contract, made from the table of routes and the models."""

import re
from functools import cache
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from authsvc import __version__
from authsvc import errors as e
from authsvc.web import bodies
from authsvc.web.bodies import Form
from authsvc.web.errors import ANSWERS
from authsvc.web.input import FORM, JSON
from authsvc.web.routes import ROUTES, Verb, Who

_SCHEMES: dict[str, dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an access token, `tok_…`"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "__Host-session"},
    "basic": {"type": "http", "scheme": "basic", "description": "client_id and client_secret"},
}
_SECURITY: dict[Who, list[dict[str, list[str]]]] = {
    "anyone": [],
    "client": [{"basic": []}, {}],  # {}: in the form's fields, which OpenAPI has no scheme for
    "user": [{"bearer": []}, {"cookie": []}],
    "admin": [{"basic": []}, {"bearer": []}, {"cookie": []}],
}
_SHARED: dict[Who, tuple[type[e.AuthError], ...]] = {
    "anyone": (),
    "client": (e.InvalidClient, e.UnauthorizedClient, e.TooManyAttempts),
    "user": (e.InvalidRequest, e.MissingToken, e.InvalidToken, e.CrossSite),
    "admin": (
        e.InvalidRequest,
        e.InvalidClient,
        e.InvalidToken,
        e.MissingToken,
        e.InsufficientRole,
        e.UnauthorizedClient,
        e.CrossSite,
        e.TooManyAttempts,
    ),
}
_OF_A_BODY = (e.InvalidRequest, e.TooLarge, e.UnsupportedMediaType)
_PARAMETERS = {
    "sub": "the user's subject",
    "client_id": "the client's id",
    "session_id": "the session's public id",
}


@cache
def text() -> str:
    """The document as YAML."""
    dumped: str = yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=110)
    return dumped


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    models = {model for verb in ROUTES for model in (verb.takes, verb.gives) if model} | {bodies.Problem}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(m, "validation") for m in ordered], ref_template="#/components/schemas/{model}")
    paths: dict[str, Any] = {}
    for verb in ROUTES:
        paths.setdefault(_path(verb), {})[verb.method.lower()] = _operation(verb)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "authsvc",
            "version": __version__,
            "summary": "Opaque tokens whose state lives in Redis or Valkey.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas["$defs"], "securitySchemes": _SCHEMES},
    }


def _operation(verb: Verb) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": verb.endpoint.__name__, "summary": verb.summary}
    operation["security"] = [scheme for who in verb.who for scheme in _SECURITY[who]]
    if parameters := _parameters(verb):
        operation["parameters"] = parameters
    if verb.takes:
        media_type = FORM if issubclass(verb.takes, Form) else JSON
        operation["requestBody"] = {"required": not verb.optional_body, "content": {media_type: _schema(verb.takes)}}
    operation["responses"] = _responses(verb)
    return operation


def _parameters(verb: Verb) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "description": _PARAMETERS[name], "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)", verb.path)
    ]
    if verb.query is None:
        return in_path
    properties = verb.query.model_json_schema()["properties"]
    return in_path + [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]


def _responses(verb: Verb) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "done"}
    if verb.gives:
        success["content"] = {JSON: _schema(verb.gives)}
    elif verb.path == "/openapi.yaml":
        success["content"] = {"application/yaml": {"schema": {"type": "string"}}}
    responses = {str(verb.status): success}
    if verb.path == "/password":
        responses["204"] = {"description": "done; the new cookie is set"}
    by_status: dict[int, set[str]] = {}
    for error in _errors(verb):
        status, code = ANSWERS[error]
        by_status.setdefault(status, set()).add(code)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = {"description": " or ".join(sorted(codes)), "content": {JSON: _schema(bodies.Problem)}}
        headers = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}
        if status in headers:
            responses[str(status)]["headers"] = {headers[status]: {"schema": {"type": "string"}}}
    return responses


def _errors(verb: Verb) -> set[type[e.AuthError]]:
    found = set(verb.errors) | {error for who in verb.who for error in _SHARED[who]}
    if verb.takes:
        found.update(_OF_A_BODY)
    if verb.query:
        found.add(e.InvalidRequest)
    if verb.who != ("anyone",) or verb.takes:
        found.add(e.StoreUnavailable)
    return found


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}


def _path(verb: Verb) -> str:
    return verb.path.replace(":path}", "}")
