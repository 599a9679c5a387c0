"""Reading what a request brings: a JSON body, a form, a query; each into a model, or InvalidRequest."""

import json
import math
import re
from collections import Counter
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from authsvc.core.json_limits import check_json
from authsvc.errors import InvalidRequest, TooLarge, UnsupportedMediaType

M = TypeVar("M", bound=BaseModel)

MAX_BODY = 64 * 1024
MAX_FIELDS = 100
MAX_DIGITS = 19
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

# RFC 6749 section 5.2 allows these in an error_description.
_UNSAFE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")


async def json_body(request: Request, model: type[M]) -> M:
    """Parse a JSON object; unlisted fields are refused. Raises InvalidRequest, TooLarge, UnsupportedMediaType."""
    return validated(model, load_json(await _read(request, JSON)))


async def optional_json_body(request: Request, model: type[M]) -> M | None:
    """Like json_body, but None if there is no body at all; one without a content type is refused, not overlooked."""
    if "content-type" not in request.headers and not await _capped(request):
        return None
    return await json_body(request, model)


async def form_body(request: Request, model: type[M]) -> M:
    """Parse a form; unlisted fields are ignored and empty ones absent (RFC 6749 section 3.2)."""
    return validated(model, load_form(await _read(request, FORM)))


def query(request: Request, model: type[M]) -> M:
    """Parse the query string; unlisted fields are refused, so that a mistyped filter is not taken for none."""
    return validated(model, load_form(request.scope["query_string"]))


def refuse_query(request: Request) -> None:
    """Raise InvalidRequest if there is a query: this is no place for tokens and secrets (RFC 6750 section 2.3)."""
    if request.scope["query_string"]:
        raise InvalidRequest("this call takes no query string")


def load_json(body: bytes) -> dict[str, Any]:
    """Parse bytes as one JSON object without repeated keys, NUL, lone surrogates or deep nesting."""
    try:
        document = json.loads(
            body.decode(),
            object_pairs_hook=_unique,
            parse_constant=_no_such_number,
            parse_int=_integer,
            parse_float=_finite,
        )
    except (ValueError, RecursionError):
        raise InvalidRequest("the body is not JSON in UTF-8, or has repeated keys or numbers too large") from None
    if not isinstance(document, dict):
        raise InvalidRequest("the body is not a JSON object")
    check_json(document, "the body")
    return document


def load_form(body: bytes) -> dict[str, str]:
    """Parse bytes as a form. Raises InvalidRequest for a repeated field, bad UTF-8 or NUL."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise InvalidRequest("the form is not urlencoded UTF-8, or has too many fields") from None
    if any(count > 1 for count in Counter(name for name, _ in pairs).values()):
        raise InvalidRequest("a field is given twice")
    if any("\0" in value for _, value in pairs):
        raise InvalidRequest("a field contains NUL")
    return {name: value for name, value in pairs if value}


def validated(model: type[M], values: dict[str, Any]) -> M:
    """Make the model. Raises InvalidRequest naming the first wrong field; nothing that was sent is repeated."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            message = f"an unknown field; known are {', '.join(model.model_fields)}"
        else:
            message = f"{name}: {first['msg']}"
        raise InvalidRequest(plain(message)) from None


def plain(text: str) -> str:
    """The text with whatever RFC 6749 does not allow in a description replaced."""
    return _UNSAFE.sub("'", text)


async def _read(request: Request, media_type: str) -> bytes:
    _check_type(request, media_type)
    return await _capped(request)


async def _capped(request: Request) -> bytes:
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:10]) > MAX_BODY:
        raise TooLarge(f"the body is over {MAX_BODY} bytes")
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise TooLarge(f"the body is over {MAX_BODY} bytes")
    except ClientDisconnect:
        raise InvalidRequest("the body broke off") from None  # nobody will read this
    return body


def _check_type(request: Request, media_type: str) -> None:
    types = request.headers.getlist("content-type")
    essence, _, parameter = (types[0] if len(types) == 1 else "").lower().partition(";")
    if essence.strip() != media_type or parameter.strip().replace('"', "") not in ("", "charset=utf-8"):
        raise UnsupportedMediaType(f"the body has to be {media_type} in UTF-8")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaType("the body must not be compressed")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("repeated key")
    return document


def _no_such_number(name: str) -> Any:
    raise ValueError(name)


def _integer(digits: str) -> int:
    # Longer ones are nobody's number: no 64 bits hold them, and other JSON readers would round or refuse them.
    if len(digits) > MAX_DIGITS:
        raise ValueError("too long")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):  # 1e999, which no JSON could say again
        raise ValueError("too large")
    return number
