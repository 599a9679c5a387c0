"""The contract, made from the table of routes, the models and the tree of errors."""

import re
from functools import cache
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from authsvc import __version__
from authsvc import errors as e
from authsvc.api import schemas as bodies
from authsvc.api.parsing import FORM, JSON
from authsvc.api.routes import ROUTES, Verb, Who
from authsvc.api.schemas import Form
from authsvc.web.errors import ANSWERS
from authsvc.web.events import EVENT_STREAM

_ABOUT = """\
Turns an opaque token into *who is this, right now?*

- Every error is `{"error": …, "error_description": …}`. A path that is none of these answers 404 `not_found`, another
  method 405 `method_not_allowed` with `Allow`. `HEAD` works wherever `GET` does.
- What is not proper HTTP/1.1 answers 400 `invalid_request`, and the connection is closed.
- Bodies are at most 64 KiB. In JSON, unlisted fields and repeated keys are refused; in forms, unlisted fields are
  ignored, empty ones count as absent and repeated ones are refused (RFC 6749 section 3.2).
- Parameters in a path are percent-encoded, a slash in a subject too (`%2F`).
- With the session cookie, every call but GET has to come from this origin or an allowed one: `Sec-Fetch-Site` or
  `Origin` has to say so. Two session cookies, or a cookie and a bearer token, are refused.
- 503 means that nothing is known, neither yes nor no; ask again after `Retry-After` seconds.
- `X-Request-ID`, up to 64 of `A-Z a-z 0-9 -`, is taken over into the answer and the audit trail.
"""
_TAGS = {
    "tokens": "giving tokens out, telling about them, taking them back",
    "account": "what a logged-in user does about the own sessions and password",
    "users": "for admins",
    "clients": "for admins",
    "audit": "for admins",
    "service": "about the service itself",
}
_DESCRIPTIONS = {
    "login": "Unknown user, suspended user and wrong password are one answer. With `cookie: true` the token is in the "
    "cookie only, and the call has to come from an allowed origin. A confidential client authenticates by HTTP Basic.",
    "token": "The only grant is `refresh_token`. Each use rotates the token; the last one gets the same answer again "
    "for some seconds, and any older one ends the session.",
    "introspect": "Unknown, expired, revoked and not for this client are one answer, `active: false` and nothing else. "
    "A refresh token is never `Bearer`.",
    "introspect_batch": "One answer for each token, in their order.",
    "verify": "Forward-auth, for gateways that ask about each request before they pass it on (`docs/gateways.md`). The "
    "method is the one of that request, `X-Forwarded-Method` or `X-Original-Method`; it is taken for a change if none "
    "of these says otherwise, and a change by cookie has to come from this origin or an allowed one. A malformed or "
    "repeated credential is 401, a demand that is unknown, empty or repeated 403.",
    "events": "Server-sent events: `everything` first, then `forget` with digests of the names of changed keys, and "
    "`heartbeat` every second while nothing can have been missed. `docs/events.md` has the whole contract.",
    "revoke": "With a `token`: 200 also if it is unknown. Admins may name `session_id`, `sub`, `client_id` or `all` "
    "instead; exactly one of these.",
    "issue": "For a client with the permission `issue`. A subject that is not known yet gets a user record. "
    "There is no refresh token.",
    "end_sessions": "Also ends logins and refreshes that are under way.",
    "change_password": "Ends every other session; this one gets new tokens, or a new cookie and 204.",
    "reset_password": "The code works once, and every session of the user ends.",
    "change_user": "Fields left out are unchanged. Reinstating revives no session.",
    "change_client": "Fields left out are unchanged.",
    "create_reset_code": "For admins, and clients with the permission `reset` for users who are no admins.",
    "rotate_secret": "The last secret stays valid for the overlap; those before it do not.",
}
_SCHEMES: dict[str, dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an access token, `tok_…` (RFC 6750)"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "__Host-session", "description": "set by a login with it"},
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "client_id and client_secret, each form-urlencoded (RFC 6749 section 2.3.1); "
        "a form may carry them as fields instead, never both",
    },
}
_SECURITY: dict[Who, list[dict[str, list[str]]]] = {
    "anyone": [],
    "client": [{"basic": []}],
    "user": [{"bearer": []}, {"cookie": []}],
    "gateway": [{"bearer": []}, {"cookie": []}],
    "admin": [{"basic": []}, {"bearer": []}, {"cookie": []}],
}
_NONE: dict[str, list[str]] = {}  # no scheme: by the form's fields, which OpenAPI has none for, or not needed
_SHARED: dict[Who, tuple[type[e.AuthError], ...]] = {
    "anyone": (),
    "client": (e.InvalidRequest, e.InvalidClient, e.TooManyAttempts),
    "user": (e.InvalidRequest, e.MissingToken, e.InvalidToken, e.CrossSite),
    "gateway": (
        e.MissingToken,
        e.InvalidToken,
        e.InsufficientScope,
        e.InsufficientRole,
        e.AccessDenied,
        e.CrossSite,
    ),
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
_OF_EVERY_CALL = (e.HeadTooLarge, e.Busy)
_OF_A_BODY = (e.InvalidRequest, e.TooLarge, e.UnsupportedMediaType)
_PARAMETERS: dict[str, dict[str, Any]] = {
    "sub": {
        "description": "the user's subject",
        "schema": {"type": "string", "pattern": r"^[A-Za-z0-9._~:@|+=/-]{1,255}$"},
        "example": "4fQ0kzPq1LxA",
    },
    "client_id": {
        "description": "the client's id",
        "schema": {"type": "string", "pattern": r"^[A-Za-z0-9._-]{1,64}$"},
        "example": "app",
    },
    "session_id": {
        "description": "the session's public id",
        "schema": {"type": "string", "pattern": r"^[0-9A-Za-z]{12}$"},
        "example": "4fQ0kzPq1LxA",
    },
}
# Each event of the stream, as readers of server-sent events get it.
_EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["everything", "forget", "heartbeat"]},
        "data": {"type": "string", "contentMediaType": JSON, "description": "of `forget`, a list"},
    },
}
_COOKIE = "`__Host-session`, HttpOnly, Secure, SameSite=Lax, Path=/; "
_COOKIES = {
    "login": ("200", _COOKIE + "in cookie mode; Max-Age is the session's end"),
    "change_password": ("204", _COOKIE + "the new one"),
    "logout": ("204", _COOKIE + "expired, where the call was made with it"),
    "end_session": ("204", _COOKIE + "expired, where the ended session is the one of the cookie"),
    "end_sessions": ("204", _COOKIE + "expired, where this session ended too"),
}
_IDENTITY = {
    "X-Auth-Subject": "whose token it is",
    "X-Auth-Username": "percent-encoded UTF-8; empty if there is none",
    "X-Auth-Roles": "with single spaces between",
    "X-Auth-Scope": "with single spaces between",
    "X-Auth-Session": "the session's public id",
}
_HEADERS: dict[str, dict[str, Any]] = {
    "RequestId": {
        "description": "the caller's `X-Request-ID`, or a new one",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9-]{1,64}$"},
    },
    "NoStore": {
        "description": "no answer may be cached",
        "required": True,
        "schema": {"type": "string", "const": "no-store"},
    },
    "RetryAfter": {
        "description": "whole seconds to wait",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "Challenge": {
        "description": "`Basic` for clients, `Bearer` for users (RFC 6749 section 5.2, RFC 6750 section 3)",
        "required": True,
        "schema": {"type": "string"},
    },
}
_ALWAYS = {"X-Request-ID": "RequestId", "Cache-Control": "NoStore"}
_BY_STATUS = {
    401: ("WWW-Authenticate", "Challenge"),
    429: ("Retry-After", "RetryAfter"),
    503: ("Retry-After", "RetryAfter"),
}


@cache
def text() -> str:
    """The document as YAML."""
    dumped: str = yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return dumped


class _Dumper(yaml.SafeDumper):
    """YAML for people: nothing by reference, long texts as they were written."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _string)


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    models = {model for verb in ROUTES for model in (verb.takes, verb.gives) if model} | {bodies.Problem}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(m, "validation") for m in ordered], ref_template="#/components/schemas/{model}")
    paths: dict[str, Any] = {}
    failures: dict[str, Any] = {}
    for verb in ROUTES:
        operation = _operation(verb, failures)
        operations = paths.setdefault(path_of(verb), {})
        operations[verb.method.lower()] = operation
        for method in verb.also:
            operations[method.lower()] = operation | {"operationId": f"{operation['operationId']}_{method.lower()}"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "authsvc",
            "version": __version__,
            "summary": "Opaque tokens whose state lives in Redis or Valkey.",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "responses": dict(sorted(failures.items())),
            "headers": _HEADERS,
            "securitySchemes": _SCHEMES,
        },
    }


def path_of(verb: Verb) -> str:
    """The route's path as OpenAPI writes it."""
    return re.sub(r":\w+\}", "}", verb.path)


def operation_id(verb: Verb) -> str:
    return verb.endpoint.__name__


def _operation(verb: Verb, failures: dict[str, Any]) -> dict[str, Any]:
    name = operation_id(verb)
    operation: dict[str, Any] = {"operationId": name, "summary": verb.summary, "tags": [_tag(verb)]}
    if name in _DESCRIPTIONS:
        operation["description"] = _DESCRIPTIONS[name]
    operation["security"] = _security(verb)
    if parameters := _parameters(verb):
        operation["parameters"] = parameters
    if verb.takes:
        media_type = FORM if issubclass(verb.takes, Form) else JSON
        content = {media_type: {**_schema(verb.takes), "example": _example(verb.takes)}}
        operation["requestBody"] = {"required": not verb.optional_body, "content": content}
    operation["responses"] = _responses(verb, failures)
    return operation


def _tag(verb: Verb) -> str:
    if verb.path.startswith("/admin/"):
        return verb.path.split("/")[2]
    if verb.who == ("user",) or verb.path == "/password/reset":
        return "account"
    return "tokens" if verb.takes or verb.who == ("gateway",) else "service"


def _security(verb: Verb) -> list[dict[str, list[str]]]:
    schemes = [scheme for who in verb.who for scheme in _SECURITY[who]]
    if "client" in verb.who and verb.takes and issubclass(verb.takes, bodies.ClientForm):
        schemes.append(_NONE)
    if operation_id(verb) == "login":
        schemes += [_NONE, {"basic": []}]
    return [scheme for at, scheme in enumerate(schemes) if scheme not in schemes[:at]]


def _parameters(verb: Verb) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, **_PARAMETERS[name]}
        for name in re.findall(r"\{(\w+)", verb.path)
    ]
    if verb.query is None:
        return in_path
    properties = verb.query.model_json_schema()["properties"]
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


def _example(model: type[BaseModel]) -> dict[str, Any]:
    """A request made of the fields' own examples."""
    fields = model.model_fields.items()
    return {name: field.examples[0] for name, field in fields if field.examples}


def _responses(verb: Verb, failures: dict[str, Any]) -> dict[str, Any]:
    responses = {str(verb.status): _success(verb)}
    cookie_status, cookie = _COOKIES.get(operation_id(verb), ("", ""))
    if cookie:
        bare = {"description": "done, in cookie mode", "headers": _headers()}
        headers = responses.setdefault(cookie_status, bare)["headers"]
        headers["Set-Cookie"] = {"description": cookie, "schema": {"type": "string"}}
    by_status: dict[int, list[type[e.AuthError]]] = {}
    for error in sorted(_errors(verb), key=lambda error: error.__name__):
        by_status.setdefault(ANSWERS[error][0], []).append(error)
    for status, errors in sorted(by_status.items()):
        name = "Or".join(error.__name__ for error in errors)
        failures[name] = _failure(status, errors)
        responses[str(status)] = {"$ref": f"#/components/responses/{name}"}
    failures["ServerError"] = _problem("`server_error`: a fault of ours; the log knows more", ["server_error"], 500)
    responses["500"] = {"$ref": "#/components/responses/ServerError"}
    return responses


def _success(verb: Verb) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "done", "headers": _headers()}
    if verb.who == ("gateway",):
        text = {"required": True, "schema": {"type": "string"}}
        success["headers"] |= {name: {"description": about, **text} for name, about in _IDENTITY.items()}
    elif verb.gives:
        success["content"] = {JSON: _schema(verb.gives)}
    elif verb.path == "/openapi.yaml":
        success["content"] = {"application/yaml": {"schema": {"type": "object", "required": ["openapi", "paths"]}}}
    elif verb.path == "/events":
        success["content"] = {EVENT_STREAM: {"schema": _EVENT}}
    return success


def _failure(status: int, errors: list[type[e.AuthError]]) -> dict[str, Any]:
    lines = [f"- `{ANSWERS[error][1]}`: {_first_sentence(error)}" for error in errors]
    return _problem("\n".join(lines), sorted({ANSWERS[error][1] for error in errors}), status)


def _problem(description: str, codes: list[str], status: int) -> dict[str, Any]:
    schema = {"allOf": [_schema(bodies.Problem)["schema"], {"properties": {"error": {"enum": codes}}}]}
    headers = _headers(*(_BY_STATUS[status],) if status in _BY_STATUS else ())
    return {"description": description, "headers": headers, "content": {JSON: {"schema": schema}}}


def _headers(*more: tuple[str, str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{of}"} for name, of in (*_ALWAYS.items(), *more)}


def _first_sentence(error: type[e.AuthError]) -> str:
    return (error.__doc__ or "").split("\n")[0]


def _errors(verb: Verb) -> set[type[e.AuthError]]:
    found = set(verb.errors) | set(_OF_EVERY_CALL) | {error for who in verb.who for error in _SHARED[who]}
    if verb.takes:
        found.update(_OF_A_BODY)
    if verb.query and verb.who != ("gateway",):
        found.add(e.InvalidRequest)
    if verb.who != ("anyone",) or verb.takes:
        found.add(e.StoreUnavailable)
    return found


def _schema(model: type[BaseModel]) -> dict[str, dict[str, str]]:
    return {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
