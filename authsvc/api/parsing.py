"""Parse bytes as JSON or as a form, and values into a model. Input that does not fit raises InvalidRequest."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from authsvc.api.schemas.patterns import MEANINGS
from authsvc.core.json_limits import check_json
from authsvc.errors import InvalidRequest

M = TypeVar("M", bound=BaseModel)

MAX_BODY = 64 * 1024
# For bodies that are read before anybody has authenticated, all forms among them. A password of 1,024 bytes takes 6 KiB
# if all of its characters are escaped.
MAX_ANONYMOUS_BODY = 20 * 1024
# A thousand finds of GitHub, each with the URL of a file.
MAX_FINDS_BODY = 512 * 1024
MAX_FORM_FIELDS = 100
MAX_DIGITS = 19
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

_SHOULD = re.compile(r"^[A-Z][a-z]+ should ")
# Errors of pydantic for which we have words of our own.
_RULES = {
    "missing": "required",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be an array",
    "dict_type": "must be an object",
}
_NO_JSON = "the body is not JSON in UTF-8, or has repeated keys or numbers too large"

# A JSON body that begins like a form.
_LIKE_FORM = re.compile(rb"[A-Za-z_]+=")
# Names of fields that an error may repeat. No token, and hardly a password, looks like this.
_FIELD = re.compile(r"[a-z][a-z_]{0,31}")
# All but the characters that RFC 6749 section 5.2 allows in an error_description.
_UNSAFE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")


def refuse_unfit(model: type[BaseModel], body: bytes) -> None:
    """Raise InvalidRequest for a body that the model does not take, before `load_json` looks at each value of it.

    For calls that anybody can make. `load_json` takes up to 12 ms for 20 KiB of many small values, and meanwhile the
    worker answers nobody. The parser of pydantic takes a quarter of that. A document that fits has few values.
    """
    validated_json(model, body)


def validated_json(model: type[M], body: bytes) -> M:
    """Make the model of bytes that are JSON of any kind. Raises InvalidRequest."""
    return _checked(lambda: model.model_validate_json(body), model, _no_json(body))


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
        raise InvalidRequest(_no_json(body)) from None
    if not isinstance(document, dict):
        raise InvalidRequest("the body is not a JSON object")
    check_json(document, "the body")
    return document


def load_form(body: bytes) -> dict[str, str]:
    """Parse bytes as a form. Raises InvalidRequest for a repeated field, bad UTF-8 or NUL."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS)
    except ValueError:
        raise InvalidRequest("the form is not urlencoded UTF-8, or has too many fields") from None
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise InvalidRequest(f"{_named(name)} is given twice")
    for name, value in pairs:
        if "\0" in value:
            raise InvalidRequest(f"{_named(name)} contains NUL")
    return {name: value for name, value in pairs if value}


def _no_json(body: bytes) -> str:
    return "the body looks like a form, and this call takes a JSON object" if _LIKE_FORM.match(body) else _NO_JSON


def validated(model: type[M], values: dict[str, Any]) -> M:
    """Make the model. Raises InvalidRequest naming the first wrong field; no value that was sent is repeated."""
    return _checked(lambda: model.model_validate(values), model)


def _checked(make: Callable[[], M], model: type[M], no_json: str = _NO_JSON) -> M:
    try:
        return make()
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        first = errors[0]
        unknown = next((one for one in errors if one["type"] == "extra_forbidden"), None)
        name = ".".join(str(part) for part in first["loc"]) or "the body"
        if first["type"] == "json_invalid":
            raise InvalidRequest(no_json) from None
        if first is unknown:
            message = _unknown(first, model)
        elif unknown and first["type"] == "missing":  # perhaps under another name
            message = f"{name}: {_rule(first)}; {_unknown(unknown, model)}"
        else:
            message = f"{name}: {_rule(first)}"
        raise InvalidRequest(plain(message)) from None


def _rule(error: ErrorDetails) -> str:
    """The rule for a field that its value breaks."""
    if error["type"] in _RULES:
        return _RULES[error["type"]]
    if error["type"] == "string_pattern_mismatch":
        return MEANINGS[error["ctx"]["pattern"]]
    # pydantic says "Input should be …", "String should have …" and, of a list, "… after validation, not 65".
    return _SHOULD.sub("must ", error["msg"]).replace(" after validation", "")


def _unknown(error: ErrorDetails, model: type[BaseModel]) -> str:
    name = str(error["loc"][-1])
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = get_close_matches(name[:64].lower(), known, n=1)
    shown = f"{name}: an unknown field" if _FIELD.fullmatch(name) else "an unknown field"
    return f"{shown}{f', did you mean {near[0]}?' if near else ''}; known are {', '.join(known)}"


def _named(name: str) -> str:
    return name if _FIELD.fullmatch(name) else "a field"


def plain(text: str) -> str:
    """Replace the characters that RFC 6749 does not allow in a description."""
    return _UNSAFE.sub("'", text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("repeated key")
    return document


def _no_such_number(name: str) -> Any:
    raise ValueError(name)


def _integer(digits: str) -> int:
    # A longer number does not fit into 64 bits, and other JSON readers would round or refuse it.
    if len(digits) > MAX_DIGITS:
        raise ValueError("too long")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):  # 1e999: JSON cannot express infinity
        raise ValueError("too large")
    return number
